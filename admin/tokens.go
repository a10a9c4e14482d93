package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"fanjet/internal/secret"
)

// checkSecret is [CheckToken] for a secret.
func checkSecret(s secret.Value) error { return CheckToken(s.Reveal()) }

// keyring knows the tokens, by their hashes only.
type keyring []key

type key struct {
	name  string
	scope Scope
	sum   [sha256.Size]byte
}

func newKeyring(tokens []Token) keyring {
	keys := make(keyring, len(tokens))
	for i, t := range tokens {
		keys[i] = key{t.Name, t.Scope, sha256.Sum256([]byte(t.Secret.Reveal()))}
	}
	return keys
}

// find returns the key that opens with a token. The time that it takes depends
// neither on which one that is, nor on how much of one was guessed: all are
// compared, and hashes are.
func (k keyring) find(token string) (found key, ok bool) {
	sum := sha256.Sum256([]byte(token))
	at := -1
	for i := range k {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(k[i].sum[:], sum[:]), i, at)
	}
	if at < 0 {
		return key{}, false
	}
	return k[at], true
}

// bearer returns the token of a request; given tells whether there are
// credentials at all. Two headers are none: whichever counted, somebody in
// between may have meant the other.
func bearer(r *http.Request) (token string, given bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", len(values) > 0
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken {
		return "", true
	}
	return strings.TrimLeft(token, " "), true
}
