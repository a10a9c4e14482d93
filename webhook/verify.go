package webhook

import (
	"cmp"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// DefaultTolerance is how far a timestamp may be from the receiver's clock,
// unless a [Verifier] says otherwise (Standard Webhooks 1.0).
const DefaultTolerance = 5 * time.Minute

// Why a webhook is refused. Match with [errors.Is].
var (
	// ErrMissingHeader means that a header of Standard Webhooks is not there.
	ErrMissingHeader = errors.New("missing webhook header")
	// ErrHeader means that such a header is there but cannot be right.
	ErrHeader = errors.New("malformed webhook header")
	// ErrTimestamp means that the webhook is too old or too new. One of the
	// clocks is wrong, the request was held up, or somebody replays it.
	ErrTimestamp = errors.New("webhook timestamp outside the tolerance")
	// ErrSignature means that no signature was made over this id, timestamp and
	// body with one of the secrets.
	ErrSignature = errors.New("no webhook signature matches")
)

// Verifier verifies webhooks against one or several secrets. Its fields may be
// set until it is used; then it is safe for concurrent use.
type Verifier struct {
	// Tolerance is how far the timestamp may be from Now, in both directions.
	// Zero means [DefaultTolerance].
	Tolerance time.Duration
	// Now is the clock; nil means [time.Now]. To verify a request that was
	// stored, let it return when the request arrived.
	Now func() time.Time

	macs    []*macKey
	publics []ed25519.PublicKey
}

// NewVerifier returns a Verifier that accepts a signature of any of secrets:
// whsec_…, whpk_…, or whsk_…, of which it keeps only the public key. The error
// wraps [ErrSecret] and never contains a secret.
func NewVerifier(secrets ...string) (*Verifier, error) {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return nil, err
	}
	v := new(Verifier)
	for _, k := range keys {
		if k.mac != nil {
			v.macs = append(v.macs, k.mac)
		} else {
			v.publics = append(v.publics, k.public)
		}
	}
	return v, nil
}

// Verify verifies one webhook against one secret. Whoever receives many
// prepares a [Verifier].
func Verify(secret string, header http.Header, body []byte) error {
	v, err := NewVerifier(secret)
	if err != nil {
		return err
	}
	return v.Verify(header, body)
}

// Verify returns nil if one of the signatures in header was made over its id,
// its timestamp and body with one of the secrets, and the timestamp is within
// the tolerance. Otherwise the error wraps [ErrMissingHeader], [ErrHeader],
// [ErrTimestamp] or [ErrSignature].
//
// The body must be the bytes that arrived, not JSON that was decoded and
// encoded again. The keys of header must be in canonical form, as net/http
// makes them.
func (v *Verifier) Verify(header http.Header, body []byte) error {
	e, err := v.open(header)
	if err != nil {
		return err
	}
	return v.check(e, body)
}

// open does everything that needs no body: who receives can refuse a request
// before reading it.
func (v *Verifier) open(header http.Header) (envelope, error) {
	e, err := readEnvelope(header)
	if err != nil {
		return e, err
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	tolerance := cmp.Or(v.Tolerance, DefaultTolerance)
	signed, received := time.Unix(e.timestamp, 0).UTC(), now().UTC()
	if age := received.Sub(signed); age > tolerance || age < -tolerance {
		return e, fmt.Errorf("%w: signed at %s, received at %s, allowed is %v",
			ErrTimestamp, signed.Format(time.RFC3339), received.Format(time.RFC3339), tolerance)
	}
	return e, nil
}

// check compares the signatures. What its time tells is which of the secrets
// matched, never how much of a signature did.
func (v *Verifier) check(e envelope, body []byte) error {
	c := content{id: e.id, timestamp: e.timestamp, body: body}
	for _, k := range v.macs {
		want := k.text(c)
		for text := range e.signatures(versionMAC) {
			// The texts are compared, not what they decode to: several texts
			// decode to the same bytes, only one of them is the signature.
			var got [macTextLen]byte
			if len(text) == copy(got[:], text) && hmac.Equal(got[:], want[:]) {
				return nil
			}
		}
	}
	var message []byte
	for text := range e.signatures(versionEd25519) {
		signature, ok := decodeEd25519(text)
		if !ok {
			continue
		}
		if message == nil && len(v.publics) > 0 {
			message = c.appendTo(nil)
		}
		for _, k := range v.publics {
			if ed25519.Verify(k, message, signature) {
				return nil
			}
		}
	}
	return ErrSignature
}

// decodeEd25519 accepts the one text that encodes a signature. (The decoder
// skips line breaks, but a text with some is too long.)
func decodeEd25519(text string) (signature []byte, ok bool) {
	if len(text) != ed25519TextLen {
		return nil, false
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(text)
	return signature, err == nil && len(signature) == ed25519.SignatureSize
}
