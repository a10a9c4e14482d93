package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"sync"
)

// What a signature begins with (Standard Webhooks 1.0).
const (
	versionMAC     = "v1,"
	versionEd25519 = "v1a,"
)

// Lengths of signatures in base64.
const (
	macTextLen     = (sha256.Size + 2) / 3 * 4
	ed25519TextLen = (ed25519.SignatureSize + 2) / 3 * 4
)

// content is what is signed: the id, the timestamp and the body, with dots
// between them.
type content struct {
	id        string
	timestamp int64 // Unix seconds
	body      []byte
}

// appendHead appends everything before the body.
func (c content) appendHead(b []byte) []byte {
	b = append(b, c.id...)
	b = append(b, '.')
	b = strconv.AppendInt(b, c.timestamp, 10)
	return append(b, '.')
}

// appendTo appends the whole content.
func (c content) appendTo(b []byte) []byte {
	return append(c.appendHead(b), c.body...)
}

// macKey computes HMAC-SHA256 with one secret. It keeps hash states, because
// setting one up costs as much as hashing a small event.
type macKey struct{ states sync.Pool }

type macState struct {
	hash hash.Hash
	buf  []byte // head of the content, then the sum
}

func newMACKey(secret []byte) *macKey {
	k := new(macKey)
	k.states.New = func() any {
		return &macState{hash: hmac.New(sha256.New, secret), buf: make([]byte, 0, 128)}
	}
	return k
}

// text returns the base64 of the HMAC.
func (k *macKey) text(c content) (text [macTextLen]byte) {
	s := k.states.Get().(*macState)
	// Reset goes back to the state after the padded key, which the hash saves
	// at the first Reset: the key is not hashed again.
	s.hash.Reset()
	s.buf = c.appendHead(s.buf[:0])
	s.hash.Write(s.buf)
	s.hash.Write(c.body)
	s.buf = s.hash.Sum(s.buf[:0])
	base64.StdEncoding.Encode(text[:], s.buf)
	k.states.Put(s)
	return text
}

// privateKey signs with Ed25519.
type privateKey struct {
	key      ed25519.PrivateKey
	messages sync.Pool // of *[]byte; Ed25519 needs the content in one piece
}

// maxKeptMessage is the largest message buffer that is kept, in bytes: larger
// events are rare and would pin their memory.
const maxKeptMessage = 64 << 10

func newPrivateKey(key ed25519.PrivateKey) *privateKey {
	k := &privateKey{key: key}
	k.messages.New = func() any { return new([]byte) }
	return k
}

// text returns the base64 of the signature.
func (k *privateKey) text(c content) (text [ed25519TextLen]byte) {
	message := k.messages.Get().(*[]byte)
	*message = c.appendTo((*message)[:0])
	base64.StdEncoding.Encode(text[:], ed25519.Sign(k.key, *message))
	if cap(*message) <= maxKeptMessage {
		k.messages.Put(message)
	}
	return text
}
