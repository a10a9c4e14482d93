package webhook_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"

	"fanjet/webhook"
)

func drawSecret(t *rapid.T, label string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 24, 64).Draw(t, label))
}

func drawID(t *rapid.T) string { return rapid.StringMatching(`[a-zA-Z0-9_-]{1,64}`).Draw(t, "id") }

// Standard Webhooks' own Go library accepts what we sign, and we accept what it
// signs. (It knows HMAC only.)
func TestAgreesWithStandardWebhooks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := []string{drawSecret(t, "secret"), drawSecret(t, "older secret")}
		id := drawID(t)
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		at := time.Now().Add(time.Duration(rapid.IntRange(-240, 240).Draw(t, "age")) * time.Second)

		signer, err := webhook.NewSigner(secrets...)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := webhook.NewVerifier(secrets...)
		if err != nil {
			t.Fatal(err)
		}
		ours := header(id, at.Unix(), signer.Sign(id, at, body))
		if err := verifier.Verify(ours, body); err != nil {
			t.Errorf("we refuse our own signature: %v", err)
		}
		for _, secret := range secrets {
			oracle, err := standardwebhooks.NewWebhook(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := oracle.Verify(body, ours); err != nil {
				t.Errorf("it refuses our signature: %v", err)
			}
			signature, err := oracle.Sign(id, at, body)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(header(id, at.Unix(), signature), body); err != nil {
				t.Errorf("we refuse its signature: %v", err)
			}
		}
	})
}

// Whatever is changed in a webhook, both give the same verdict.
func TestRefusesWithStandardWebhooks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret, id, now := drawSecret(t, "secret"), drawID(t), time.Now()
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		signature, err := webhook.Sign(secret, id, now, body)
		if err != nil {
			t.Fatal(err)
		}
		h := header(id, now.Unix(), signature)
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			h.Set("webhook-id", drawID(t))
		case 1:
			// Not at the edge of the tolerance: the two read the clock one after the other.
			at := now.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, "minutes")) * 37 * time.Second)
			h = header(id, at.Unix(), signature)
		case 2:
			body = rapid.SliceOf(rapid.Byte()).Draw(t, "other body")
		case 3:
			i := rapid.IntRange(0, len(signature)-1).Draw(t, "at")
			h.Set("webhook-signature", signature[:i]+rapid.StringMatching(`[A-Za-z0-9+/= ,]`).Draw(t, "character")+signature[i+1:])
		case 4:
			h.Set("webhook-signature", strings.Repeat("v1,AAAA ", rapid.IntRange(0, 10).Draw(t, "others"))+signature)
		}
		oracle, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := webhook.Verify(secret, h, body), oracle.Verify(body, h)
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("we say %v, it says %v, for %v", ours, theirs, h)
		}
		for _, pair := range [][2]error{
			{standardwebhooks.ErrNoMatchingSignature, webhook.ErrSignature},
			{standardwebhooks.ErrMessageTooOld, webhook.ErrTimestamp},
			{standardwebhooks.ErrMessageTooNew, webhook.ErrTimestamp},
		} {
			if errors.Is(theirs, pair[0]) && !errors.Is(ours, pair[1]) {
				t.Errorf("it says %v, we say %v", theirs, ours)
			}
		}
	})
}
