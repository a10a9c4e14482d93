package webhook_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"fanjet/webhook"
)

func TestSignVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			got, err := webhook.Sign(v.secret, v.id, time.Unix(v.seconds, 0), []byte(v.body))
			if err != nil || got != v.signature {
				t.Errorf("Sign = %q, %v, want %q", got, err, v.signature)
			}
			// A fraction of a second is not signed.
			got = mustSigner(t, v.secret).Sign(v.id, time.Unix(v.seconds, 999_999_999), []byte(v.body))
			if got != v.signature {
				t.Errorf("Signer.Sign = %q, want %q", got, v.signature)
			}
		})
	}
}

func TestSignerWithSeveralSecrets(t *testing.T) {
	t.Parallel()
	hmac, ed := vectors()[0], vectors()[2] // the same id, timestamp and body
	other := webhook.NewSecret()
	at, body := time.Unix(hmac.seconds, 0), []byte(hmac.body)
	s := mustSigner(t, hmac.secret, ed.secret, other)
	third, err := webhook.Sign(other, hmac.id, at, body)
	if err != nil {
		t.Fatal(err)
	}
	want := hmac.signature + " " + ed.signature + " " + third
	if got := s.Sign(hmac.id, at, body); got != want {
		t.Errorf("Sign = %q, want one entry per secret in their order: %q", got, want)
	}
}

func TestSignerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	hmac, ed := vectors()[0], vectors()[2]
	s := mustSigner(t, hmac.secret, ed.secret)
	large := []byte(strings.Repeat("x", 100<<10))
	at := time.Unix(hmac.seconds, 0)
	wantLarge := s.Sign("large", at, large)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got := s.Sign(hmac.id, at, []byte(hmac.body)); got != hmac.signature+" "+ed.signature {
					t.Errorf("Sign = %q", got)
				}
				if got := s.Sign("large", at, large); got != wantLarge {
					t.Errorf("Sign of a large body = %q, want %q", got, wantLarge)
				}
			}
		})
	}
	wg.Wait()
}

func TestSignRefusesWhatNoReceiverAccepts(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	if got, err := webhook.Sign("bad", "id", time.Unix(1, 0), nil); !errors.Is(err, webhook.ErrSecret) || got != "" {
		t.Errorf("Sign with a bad secret = %q, %v, want ErrSecret", got, err)
	}
	for name, tt := range map[string]struct {
		id   string
		at   time.Time
		want error
	}{
		"no id":           {"", time.Unix(1, 0), webhook.ErrMissingHeader},
		"dot in the id":   {"a.b", time.Unix(1, 0), webhook.ErrHeader},
		"endless id":      {strings.Repeat("a", 257), time.Unix(1, 0), webhook.ErrHeader},
		"before 1970":     {"a", time.Unix(-1, 0), webhook.ErrHeader},
		"zero time":       {"a", time.Time{}, webhook.ErrHeader},
		"year 10000":      {"a", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), webhook.ErrHeader},
		"the epoch":       {"a", time.Unix(0, 0), nil},
		"longest id":      {strings.Repeat("a", 256), time.Unix(1, 0), nil},
		"end of the time": {"a", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := webhook.Sign(secret, tt.id, tt.at, nil)
			if !errors.Is(err, tt.want) || (err == nil) != (got != "") {
				t.Errorf("Sign = %q, %v, want error %v", got, err, tt.want)
			}
			if tt.want == nil {
				v := mustVerifier(t, tt.at.Unix(), secret)
				if err := v.Verify(header(tt.id, tt.at.Unix(), got), nil); err != nil {
					t.Errorf("Verify = %v", err)
				}
			}
		})
	}
}
