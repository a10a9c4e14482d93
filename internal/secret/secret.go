// Package secret holds values that must never be shown.
package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

const redacted = "[redacted]"

// Value is a secret. However it is printed, logged or encoded, it shows as
// "[redacted]", or as an address in memory where it is a part of something that
// keeps it to itself; only [Value.Reveal] gives the text. The zero value is no
// secret.
//
// Values are compared with [Value.Equal]; == does not compile.
type Value struct {
	_ [0]func() // not comparable
	// text is behind a pointer because fmt does not ask what is in an unexported
	// field how it wants to be shown, but does not follow pointers there.
	text *string
}

// New wraps text.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{text: &text}
}

// Reveal returns the secret itself.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// IsZero reports whether there is no secret.
func (v Value) IsZero() bool { return v.text == nil }

// Equal reports whether two secrets are the same, in a time that depends on
// their lengths only.
func (v Value) Equal(other Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(other.Reveal())) == 1
}

// Digest returns what tells secrets apart without showing them: the same for the
// same secret and key. With a key that is random and forgotten, it cannot be
// used to try secrets.
func (v Value) Digest(key []byte) [sha256.Size]byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(v.Reveal()))
	return [sha256.Size]byte(mac.Sum(nil))
}

// HideIn takes the secret out of a text, as it is and as JSON may have it, and
// what follows its prefix: the key of whsec_KEY. A key of less than eight bytes
// stays: it would be found in everything.
func (v Value) HideIn(text string) string {
	const least = 8
	_, key, _ := strings.Cut(v.Reveal(), "_")
	for _, s := range [...]string{v.Reveal(), key} {
		if len(s) >= least {
			text = strings.ReplaceAll(text, s, redacted)
			text = strings.ReplaceAll(text, strings.ReplaceAll(s, "/", `\/`), redacted)
		}
	}
	return text
}

// String implements fmt.Stringer.
func (v Value) String() string { return redacted }

// Format implements fmt.Formatter: verbs that are not for text would show the
// fields.
func (v Value) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalText implements encoding.TextMarshaler.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
