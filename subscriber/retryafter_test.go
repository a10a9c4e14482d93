package subscriber

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/wire"
)

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const absurd = -1
	for value, want := range map[string]time.Duration{
		"":                                 0,
		"0":                                0,
		"120":                              2 * time.Minute,
		" 120 ":                            2 * time.Minute,
		"3600":                             time.Hour,
		"3601":                             time.Hour,
		"86400":                            time.Hour,
		"86401":                            absurd,
		"1767268830":                       absurd, // a Unix time, soon
		"1767268830000":                    absurd, // in milliseconds
		"4294967296":                       absurd, // 1<<32
		"9223372037":                       absurd, // more than a time.Duration holds
		"99999999999999999999999999":       absurd,
		"-5":                               absurd,
		"-1767268830":                      absurd,
		"1.5":                              absurd,
		"soon":                             absurd,
		"NaN":                              absurd,
		"+5":                               absurd,
		"1e3":                              absurd,
		"0x10":                             absurd,
		"\u0665":                           absurd, // a digit, but not of ours
		"7, 8":                             absurd,
		"-9223372036854775808":             absurd,
		"18446744073709551616":             absurd,
		"2026-01-01T12:00:30Z":             absurd, // a date, but not of HTTP
		"Fri, 31 Dec 9999 23:59:59 GMT":    absurd,
		"Fri, 31 Dec 12026 23:59:59 GMT":   absurd,
		"Mon, 01 Jan 0001 00:00:00 GMT":    absurd,
		"Thu, 01 Jan 1970 00:00:30 GMT":    absurd, // seconds, taken for a Unix time
		"Thu, 01 Jan 2026 12:00:00 GMT":    0,
		"Thu, 01 Jan 2026 12:00:30 GMT":    30 * time.Second,
		"Thursday, 01-Jan-26 12:00:30 GMT": 30 * time.Second,
		"Thu Jan  1 12:00:30 2026":         30 * time.Second,
		"Thu, 01 Jan 2026 11:59:59 GMT":    absurd,
		"Thu, 01 Jan 2026 13:00:01 GMT":    time.Hour,
		"Fri, 02 Jan 2026 12:00:00 GMT":    time.Hour,
		"Fri, 02 Jan 2026 12:00:01 GMT":    absurd,
		"Fri, 01 Jan 2027 12:00:00 GMT":    absurd,
	} {
		got, sane := parseRetryAfter(value, now)
		if !sane && got == 0 {
			got = absurd
		}
		if got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{"1", "Thu, 01 Jan 2026 12:00:30 GMT", "-1", "1e9", "18446744073709551616", "1767268830"} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		d, sane := parseRetryAfter(value, now)
		if d < 0 || d > maxRetryAfter || d != 0 && !sane {
			t.Errorf("%q: %v, %v", value, d, sane)
		}
	})
}

// What an endpoint asks for reaches the gate and the schedule; what it cannot
// mean reaches the log instead.
func TestAbsurdRetryAfterIsLogged(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Minute).Unix()
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for _, tt := range []struct {
			value  string
			absurd bool
			wait   time.Duration
		}{
			{"", false, 0},
			{"0", false, 0},
			{"7", false, 7 * time.Second},
			{"7200", false, time.Hour},
			{strconv.FormatInt(soon, 10), true, 0},
			{"-1", true, 0},
			{"in a while", true, 0},
			{strings.Repeat("9", 400), true, 0},
		} {
			hook := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.value != "" {
					w.Header().Set("Retry-After", tt.value)
				}
				w.WriteHeader(status)
			})
			r := try(t.Context(), testEndpoint(t, hook.URL, loopback), nil, []byte("{}"))
			if r.RetryAfter != tt.wait {
				t.Errorf("%d with %q: waits %v, want %v", status, tt.value, r.RetryAfter, tt.wait)
			}
			core, logs := observer.New(zap.WarnLevel)
			d := &Dispatcher{opts: Options{ServerTime: time.Now}, log: zap.New(core), metrics: newMetrics(prometheus.NewRegistry())}
			d.observe(&endpoint{name: "a", metrics: endpointMetrics{all: d.metrics, endpoint: "a"}}, &wire.Envelope{}, r)
			if said := logs.Len() == 1; said != tt.absurd {
				t.Errorf("%d with %q: %d lines in the log", status, tt.value, logs.Len())
			}
			for _, line := range logs.All() {
				if value, _ := line.ContextMap()["value"].(string); value == "" || len(value) > maxAbsurd || value[0] != tt.value[0] {
					t.Errorf("%d with %q: the log says %q", status, tt.value, value)
				}
			}
		}
	}
}

// What one endpoint says all the time does not hide what another one says once.
func TestAbsurdRetryAfterIsLoggedOfEach(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.WarnLevel)
	d := &Dispatcher{opts: Options{ServerTime: time.Now}, log: zap.New(core), metrics: newMetrics(prometheus.NewRegistry())}
	now := time.Now()
	named := func(name string) *endpoint {
		return &endpoint{name: name, metrics: endpointMetrics{all: d.metrics, endpoint: name}}
	}
	answers := func(ep *endpoint, at time.Time, want int) {
		t.Helper()
		d.observe(ep, &wire.Envelope{}, Result{Class: Class4xx, Status: http.StatusTooManyRequests, Began: at, Absurd: "1767268830"})
		if n := logs.FilterField(zap.String("endpoint", ep.name)).FilterField(zap.String("value", "1767268830")).Len(); n != want {
			t.Errorf("%s: %d lines, want %d", ep.name, n, want)
		}
	}
	loud := named("loud")
	for range 100 {
		answers(loud, now, 1)
	}
	for i := range 20 {
		answers(named("quiet-"+strconv.Itoa(i)), now, 1)
	}
	answers(loud, now.Add(absurdEvery-1), 1)
	answers(loud, now.Add(absurdEvery), 2)
}
