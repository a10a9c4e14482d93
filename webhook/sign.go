package webhook

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Signer signs webhooks with one or several secrets. It is prepared once and
// then makes no allocation but the result. It is safe for concurrent use.
type Signer struct {
	keys []secretKey
	size int // of the header value
}

// NewSigner returns a Signer that signs with each of secrets, whsec_… or
// whsk_…. The first is the newest: its signature comes first. The error wraps
// [ErrSecret] and never contains a secret.
func NewSigner(secrets ...string) (*Signer, error) {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return nil, err
	}
	size := len(keys) - 1
	for i, k := range keys {
		switch {
		case k.mac != nil:
			size += len(versionMAC) + macTextLen
		case k.private != nil:
			size += len(versionEd25519) + ed25519TextLen
		default:
			return nil, fmt.Errorf("%w (%d of %d): a whpk_ key can only verify; sign with the whsk_ key that it belongs to",
				ErrSecret, i+1, len(keys))
		}
	}
	return &Signer{keys: keys, size: size}, nil
}

// Sign returns the value of the webhook-signature header: one entry per secret,
// separated by spaces. The id and the timestamp must be sent as they are signed
// here, the timestamp in whole Unix seconds.
//
// The id must not be empty or contain a dot, and the timestamp must not be
// before 1970: [Verifier] refuses such webhooks.
func (s *Signer) Sign(id string, timestamp time.Time, body []byte) string {
	c := content{id: id, timestamp: timestamp.Unix(), body: body}
	var b strings.Builder
	b.Grow(s.size)
	for i, k := range s.keys {
		if i > 0 {
			b.WriteByte(' ')
		}
		if k.mac != nil {
			text := k.mac.text(c)
			b.WriteString(versionMAC)
			b.Write(text[:])
		} else {
			text := k.private.text(c)
			b.WriteString(versionEd25519)
			b.Write(text[:])
		}
	}
	return b.String()
}

// Format implements [fmt.Formatter]: however a Signer is printed, its keys do
// not show.
func (s Signer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "webhook.Signer")
}

// Sign signs one webhook with one secret. Whoever signs many prepares a
// [Signer]. The error wraps [ErrSecret] or, for an id or timestamp that no
// receiver would accept, [ErrHeader].
func Sign(secret, id string, timestamp time.Time, body []byte) (string, error) {
	s, err := NewSigner(secret)
	if err != nil {
		return "", err
	}
	if err := checkID(id); err != nil {
		return "", err
	}
	if err := checkTimestamp(timestamp.Unix()); err != nil {
		return "", err
	}
	return s.Sign(id, timestamp, body), nil
}
