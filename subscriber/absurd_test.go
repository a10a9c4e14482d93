package subscriber

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

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
			hook := hookAt(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.value != "" {
					w.Header().Set("Retry-After", tt.value)
				}
				w.WriteHeader(status)
			})
			r := attemptAt(t, hook.URL)
			if r.RetryAfter != tt.wait {
				t.Errorf("%d with %q: waits %v, want %v", status, tt.value, r.RetryAfter, tt.wait)
			}
			core, logs := observer.New(zap.WarnLevel)
			d := &Dispatcher{opts: Options{ServerTime: time.Now}, log: zap.New(core), metrics: newMetrics(prometheus.NewRegistry())}
			d.observe(&member{name: "a", metrics: endpointMetrics{all: d.metrics, endpoint: "a"}}, &wire.Envelope{}, r)
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
	named := func(name string) *member {
		return &member{name: name, metrics: endpointMetrics{all: d.metrics, endpoint: name}}
	}
	answers := func(ep *member, at time.Time, want int) {
		t.Helper()
		d.observe(ep, &wire.Envelope{}, outcome.Result{Class: outcome.Class4xx, Status: http.StatusTooManyRequests, Began: at, Absurd: "1767268830"})
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
