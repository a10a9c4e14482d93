package gateway

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

// A rate limit lets a burst through and then holds the endpoint to its rate.
// Others are not held.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "limited", func(e *endpoint.Settings) {
		e.RateLimit = endpoint.Rate{Count: 30, Per: time.Second}
	}), endpointFor(t, w.hook, "b"))
	w.start()
	began := time.Now()
	const n = 120
	w.publishMany("events.x", n)
	w.exactly("b", n)
	w.inState("limited", endpoint.StateLimited)
	w.exactly("limited", n)
	if took, least := time.Since(began), 3*time.Second; took < least {
		t.Errorf("it took %v, at least %v was possible", took, least)
	}
	w.quiet()
	w.empty()
	w.exactly("limited", n)
	if failed := w.failures("limited"); failed != 0 || w.attempts("limited") != n {
		t.Errorf("%d failures, %d attempts", failed, w.attempts("limited"))
	}
	w.fast("limited")
}

// Retry-After holds the whole endpoint, not only the delivery that was answered
// so. What is held burns no attempt.
func TestRetryAfterHoldsTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "busy"), endpointFor(t, w.hook, "b"))
	w.hook.after = "3"
	w.answers("busy", 429)
	w.start()
	w.publish("events.first", "{}", nil)
	w.inState("busy", endpoint.StateBackingOff)
	first := w.hook.all()[0]
	if first.endpoint != "busy" {
		first = w.hook.all()[1]
	}
	w.hook.set(nil)
	const n = 100
	w.publishMany("events.x", n)
	w.exactly("b", n+1)
	for _, r := range w.delivered("busy", n+1) {
		if since := r.at.Sub(first.at); since < 3*time.Second {
			t.Errorf("%s came %v after the answer", r.id, since)
		}
	}
	w.quiet()
	w.empty()
	w.exactly("busy", n+1)
	if made := w.attempts("busy"); made != n+2 {
		t.Errorf("%d attempts of %d deliveries, one of which failed once", made, n+1)
	}
}
