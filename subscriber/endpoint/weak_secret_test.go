package endpoint

import (
	"strings"
	"testing"

	"fanjet/internal/secret"
)

func TestWeakSecret(t *testing.T) {
	t.Parallel()
	for text, weak := range map[string]bool{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":                 true,  // in every documentation
		"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA":                 true,  // zeros
		"whsec_YWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJj":             true,  // abcabc…
		"whsec_cGFzc3dvcmRwYXNzd29yZHBhc3N3b3JkcGFzc3dvcmQ=":     true,  // passwordpassword…
		"whsec_Fz0KzVWZm3qLNEHuRNJkHxBnqkR1nQ4v":                 false, // random
		"whsec_6Yt8Xv0pQb1r7Jm3l2sK9fGhZ4wD5nCeAaBUoTiRxPE=":     false,
		"whsec_nbIoUfLr2eWVJ3nBkq7QKc0OvC8yp6tS5z4xA1dGhjmEwXZg": false,
	} {
		why := WeakSecret(secret.New(text))
		if (why != "") != weak {
			t.Errorf("%s: %q, weak must be %v", text, why, weak)
		}
		if strings.Contains(why, text[6:12]) {
			t.Errorf("it shows the secret: %s", why)
		}
	}
}
