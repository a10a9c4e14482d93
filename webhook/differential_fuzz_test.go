package webhook_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"fanjet/webhook"
)

// FuzzVerifyLikeStandard changes webhooks of now: where Standard Webhooks' own
// library refuses one, so do we, and where it accepts one that is signed as the
// standard says, we do, too.
func FuzzVerifyLikeStandard(f *testing.F) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	f.Add("msg_1", 0, "v1,", "", []byte(`{}`), []byte(`{}`))
	f.Add("msg_1.2", 0, "v1,AAAA v1,", " v1a,x", []byte(`{}`), []byte(`{} `))
	f.Add("", 301, "v2,", "=", []byte(""), []byte(""))
	f.Add("msg_1", -250, "v1,x v1,", " ", []byte("\xff"), []byte("\xff"))
	oracle, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id string, age int, before, after string, signed, body []byte) {
		if age %= 1000; age > 290 && age < 310 || age < -290 && age > -310 {
			return // at the edge of the tolerance the two read their clocks at different times
		}
		at := time.Now().Add(-time.Duration(age) * time.Second)
		signature, err := webhook.Sign(secret, id, at, signed)
		if err != nil {
			return // an id with a dot, or none
		}
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		h.Set("webhook-signature", before+strings.TrimPrefix(signature, "v1,")+after)
		ours, theirs := webhook.Verify(secret, h, body), oracle.Verify(body, h)
		if ours == nil && theirs != nil {
			t.Fatalf("we accept what the library refuses (%v): %v %q", theirs, h, body)
		}
		// The library is the more lenient one about what is around a signature.
		if whole := strings.HasSuffix(before, "v1,") && (len(before) == 3 || before[len(before)-4] == ' ') && (after == "" || after[0] == ' '); ours != nil && theirs == nil && whole && id != "" {
			t.Fatalf("we refuse (%v) what the library accepts: %v %q", ours, h, body)
		}
	})
}
