package webhook_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"fanjet/webhook"
)

func TestSecretsThatAreRefused(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	mixed := append([]byte(nil), key...)
	mixed[63] ^= 1
	good := webhook.NewSecret()
	for name, tt := range map[string]struct {
		secrets []string
		message string
	}{
		"none":                {nil, "none given"},
		"too many":            {strings.Fields(strings.Repeat(good+" ", 17)), "17 given, at most 16"},
		"empty":               {[]string{""}, "must start with whsec_"},
		"no prefix":           {[]string{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "must start with whsec_"},
		"upper-case prefix":   {[]string{"WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "must start with whsec_"},
		"too short":           {[]string{"whsec_" + b64(make([]byte, 23))}, "it has 23 bytes"},
		"too long":            {[]string{"whsec_" + b64(make([]byte, 65))}, "it has 65 bytes"},
		"only a prefix":       {[]string{"whsec_"}, "it has 0 bytes"},
		"not base64":          {[]string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La!aSw"}, "not base64"},
		"unpadded":            {[]string{strings.TrimRight(good, "=")}, "not base64"},
		"URL alphabet":        {[]string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La_aSw"}, "not base64"},
		"line break":          {[]string{good + "\n"}, "line break"},
		"space":               {[]string{" " + good}, "must start with whsec_"},
		"short private key":   {[]string{"whsk_" + b64(make([]byte, 32))}, "it has 32 bytes"},
		"mixed key pair":      {[]string{"whsk_" + b64(mixed)}, "does not belong"},
		"private, not base64": {[]string{"whsk_?"}, "not base64"},
		"public, not base64":  {[]string{"whpk_?"}, "not base64"},
		"long public key":     {[]string{"whpk_" + b64(make([]byte, 33))}, "it has 33 bytes"},
		"the second":          {[]string{good, "whsec_AAAA"}, "(2 of 2)"},
		"the first":           {[]string{"whsec_AAAA", good}, "(1 of 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, signErr := webhook.NewSigner(tt.secrets...)
			_, verifyErr := webhook.NewVerifier(tt.secrets...)
			for _, err := range []error{signErr, verifyErr} {
				if !errors.Is(err, webhook.ErrSecret) || !strings.Contains(fmt.Sprint(err), tt.message) {
					t.Errorf("got %v, want ErrSecret that says %q", err, tt.message)
				}
				for _, secret := range tt.secrets {
					if _, text, _ := strings.Cut(secret, "_"); len(text) > 3 && strings.Contains(err.Error(), text) {
						t.Errorf("the error contains the secret: %v", err)
					}
				}
			}
		})
	}
}

func TestEveryBadSecretIsNamed(t *testing.T) {
	t.Parallel()
	_, err := webhook.NewSigner("x", webhook.NewSecret(), "y")
	if got := fmt.Sprint(err); !strings.Contains(got, "(1 of 3)") || !strings.Contains(got, "(3 of 3)") || strings.Contains(got, "(2 of 3)") {
		t.Errorf("got %q, want both bad secrets and only those", got)
	}
}

func TestPublicKeyCannotSign(t *testing.T) {
	t.Parallel()
	if _, err := webhook.NewSigner(webhook.NewSecret(), vectorPublicKey); !errors.Is(err, webhook.ErrSecret) {
		t.Errorf("NewSigner with a public key = %v, want ErrSecret", err)
	}
}

func TestSecretLengthsThatAreAccepted(t *testing.T) {
	t.Parallel()
	for n := 24; n <= 64; n++ {
		secret := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n))
		if _, err := webhook.NewSigner(secret); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestNewSecretsWork(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_")); err != nil || len(b) != 32 {
		t.Errorf("NewSecret has %d bytes, %v, want 32", len(b), err)
	}
	if secret == webhook.NewSecret() {
		t.Error("NewSecret returned the same secret twice")
	}
	private, public := webhook.NewKeyPair()
	for _, pair := range [][2]string{{secret, secret}, {private, private}, {private, public}} {
		signature, err := webhook.Sign(pair[0], "id", time.Unix(1, 0), []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		if err := mustVerifier(t, 1, pair[1]).Verify(header("id", 1, signature), []byte("body")); err != nil {
			t.Errorf("%.5s signed, %.5s does not verify: %v", pair[0], pair[1], err)
		}
	}
}

// Whoever logs a Signer or a Verifier must not log the secret.
func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	key := ed25519.NewKeyFromSeed(raw)
	for _, secret := range []string{
		"whsec_" + base64.StdEncoding.EncodeToString(raw),
		"whsk_" + base64.StdEncoding.EncodeToString(key),
	} {
		s := mustSigner(t, secret)
		v := mustVerifier(t, 1, secret)
		s.Sign("id", time.Unix(1, 0), nil)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			text := fmt.Sprintf(format, s) + fmt.Sprintf(format, *s) + fmt.Sprintf(format, v)
			for _, leak := range []string{"3031323334", "48 49 50 51", "0x30, 0x31", "0123456789", secret[6:20]} {
				if strings.Contains(text, leak) {
					t.Errorf("%s of %.5s shows the secret: %s", format, secret, text)
				}
			}
		}
	}
}
