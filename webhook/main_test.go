package webhook_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fanjet/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vector is a webhook whose signature was not computed by this package.
type vector struct {
	name, secret, id, body, signature string
	seconds                           int64
}

func vectors() []vector {
	return []vector{
		{
			name:      "hmac",
			secret:    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
			id:        "msg_p5jXN8AQM9LWM0D4loKWxJek",
			seconds:   1614265330,
			body:      `{"test": 2432232314}`,
			signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
		},
		{
			name:      "hmac, another secret",
			secret:    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
			id:        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
			seconds:   1649367553,
			body:      `{"email":"test@example.com","username":"test_user"}`,
			signature: "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
		},
		{
			name:      "ed25519",
			secret:    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
			id:        "msg_p5jXN8AQM9LWM0D4loKWxJek",
			seconds:   1614265330,
			body:      `{"test": 2432232314}`,
			signature: "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
		},
	}
}

// vectorPublicKey belongs to the secret of the Ed25519 vector.
const vectorPublicKey = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="

func header(id string, seconds int64, signature string) http.Header {
	h := make(http.Header)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(seconds, 10))
	h.Set("webhook-signature", signature)
	return h
}

func mustSigner(t testing.TB, secrets ...string) *webhook.Signer {
	t.Helper()
	s, err := webhook.NewSigner(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mustVerifier returns a Verifier whose clock stands at seconds.
func mustVerifier(t testing.TB, seconds int64, secrets ...string) *webhook.Verifier {
	t.Helper()
	v, err := webhook.NewVerifier(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	v.Now = func() time.Time { return time.Unix(seconds, 0) }
	return v
}
