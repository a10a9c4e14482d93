package endpoint

import (
	"encoding/base64"
	"strings"
	"testing"

	"fanjet/internal/secret"
)

// A secret that can be guessed is told, and what it is never.
func TestGuessableSecrets(t *testing.T) {
	t.Parallel()
	key := func(distinct int) string {
		bytes := make([]byte, 24)
		for i := range bytes {
			bytes[i] = byte(i % distinct)
		}
		return "whsec_" + base64.StdEncoding.EncodeToString(bytes)
	}
	for text, want := range map[string]string{
		publicSecrets()[0]:   "an example",
		publicSecrets()[1]:   "an example",
		publicSecrets()[2]:   "an example",
		key(1):               "not random",
		key(11):              "not random",
		key(12):              "",
		key(24):              "",
		"whsec_not base64 !": "",
	} {
		got := WeakSecret(secret.New(text))
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, text) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestIsToken(t *testing.T) {
	t.Parallel()
	const tokens = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for r := range rune(0x180) {
		if got, want := IsToken(r), strings.ContainsRune(tokens, r); got != want {
			t.Errorf("%q: %v, want %v", r, got, want)
		}
	}
}
