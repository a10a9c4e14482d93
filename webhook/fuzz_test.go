package webhook_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanjet/webhook"
)

// FuzzVerify changes everything that a stranger can change in genuine webhooks.
// Whatever arrives, nothing panics, and what is accepted is one of them.
func FuzzVerify(f *testing.F) {
	genuine := vectors()
	var secrets []string
	for _, v := range genuine {
		secrets = append(secrets, v.secret)
		seconds := strconv.FormatInt(v.seconds, 10)
		f.Add(v.id, seconds, v.signature, []byte(v.body))
		f.Add(v.id, "0"+seconds, v.signature, []byte(v.body))
		f.Add(v.id+"."+seconds, "1", v.signature, []byte(v.body))
		f.Add(v.id, seconds, "v1,AAAA v1a, "+v.signature+" v2,x", []byte(v.body))
		f.Add(v.id, seconds, strings.TrimRight(v.signature, "="), []byte(v.body))
		f.Add(v.id, seconds, v.signature, []byte(v.body+"\n"))
		f.Add("", "", "", []byte(nil))
	}
	verifier := mustVerifier(f, 0, secrets...)
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{
			"Webhook-Id":        {id},
			"Webhook-Timestamp": {timestamp},
			"Webhook-Signature": {signature},
		}
		for _, v := range genuine { // their times are years apart
			verifier := *verifier
			verifier.Now = func() time.Time { return time.Unix(v.seconds, 0) }
			if verifier.Verify(h, body) != nil {
				continue
			}
			if !slices.ContainsFunc(genuine, func(v vector) bool {
				return id == v.id && timestamp == strconv.FormatInt(v.seconds, 10) && string(body) == v.body &&
					slices.Contains(strings.Split(signature, " "), v.signature)
			}) {
				t.Fatalf("accepted a forgery: id %q, timestamp %q, signature %q, body %q", id, timestamp, signature, body)
			}
		}
	})
}

// FuzzSecret feeds any text as a secret: it is refused without being repeated,
// or it makes signatures that it verifies itself.
func FuzzSecret(f *testing.F) {
	for _, v := range vectors() {
		f.Add(v.secret)
		f.Add(v.secret + "\n")
		f.Add(v.secret[:len(v.secret)-1])
	}
	f.Add(vectorPublicKey)
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, secret string) {
		signer, err := webhook.NewSigner(secret)
		if err != nil {
			if _, text, _ := strings.Cut(secret, "_"); len(text) > 16 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error repeats the secret: %v", err)
			}
			return
		}
		signature := signer.Sign("id", time.Unix(1, 0), []byte("body"))
		if err := mustVerifier(t, 1, secret).Verify(header("id", 1, signature), []byte("body")); err != nil {
			t.Fatalf("a secret does not verify what it signed: %v", err)
		}
	})
}
