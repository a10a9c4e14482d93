package gateway

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/subscriber/endpoint"
)

// steadfast tries each delivery again and again, with a circuit that opens soon.
func steadfast(e *endpoint.Settings) {
	e.Retry.Schedule = slices.Repeat([]time.Duration{100 * time.Millisecond}, 100)
	e.Circuit = endpoint.Circuit{Failures: 3, Probe: 100 * time.Millisecond, MaxProbe: 200 * time.Millisecond}
}

// answers makes an endpoint answer with a status.
func (w *world) answers(endpoint string, status int) {
	w.hook.set(func(r request) int {
		if r.endpoint == endpoint {
			return status
		}
		return 200
	})
}

// failures is how many attempts of an endpoint were not accepted.
func (w *world) failures(endpoint string) int {
	n := -len(w.hook.got(endpoint))
	for _, r := range w.hook.all() {
		if r.endpoint == endpoint {
			n++
		}
	}
	return n
}

// attempts is how many were made of the deliveries that an endpoint accepted.
func (w *world) attempts(endpoint string) int {
	w.Helper()
	sum := 0
	for _, r := range w.hook.got(endpoint) {
		n, err := strconv.Atoi(r.attempt)
		if err != nil {
			w.Fatal(err)
		}
		sum += n
	}
	return sum
}

// While the circuit is open nothing but probes goes out, and what waits burns no
// attempt. When the endpoint is back it gets everything, once.
func TestCircuitOpensAndHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "fails", steadfast), endpointFor(t, w.hook, "b"))
	w.answers("fails", 500)
	w.start()
	w.publishMany("events.first", 3)
	w.inState("fails", endpoint.StateOpen)

	var together int // attempts at once, from now on
	before := w.failures("fails")
	w.hook.set(func(r request) int {
		if r.endpoint != "fails" {
			return 200
		}
		together = max(together, len(w.hook.active["fails"]))
		return 500
	})
	const n = 300
	w.publishMany("events.x", n)
	w.exactly("b", n+3)
	w.waitFor("several probes went out", func() bool { return w.failures("fails") >= before+5 })
	w.hook.set(func(r request) int {
		if r.endpoint == "fails" && together > 1 {
			t.Errorf("%d attempts at once while the circuit was open", together)
			together = 0
		}
		return 200
	})
	w.delivered("fails", n+3)
	w.quiet()
	w.empty()
	w.exactly("fails", n+3)
	w.checkNoOverlap()
	if made, failed := w.attempts("fails"), w.failures("fails"); made != n+3+failed {
		t.Errorf("%d attempts are counted of %d deliveries, of which %d failed", made, n+3, failed)
	}
	w.fast("fails")
	if opened := counted(w, w.gw, "fanjet_circuit_opened_total"); opened < 1 {
		t.Errorf("%v openings are counted", opened)
	}
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// What waits behind an open circuit for longer than max_age is dead-lettered,
// however much it is.
func TestExpiresBehindAnOpenCircuit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "fails", steadfast, func(e *endpoint.Settings) { e.Retry.MaxAge = 3 * time.Second }))
	w.answers("fails", 500)
	w.start()
	const n = 700 // more than a lane holds in memory
	w.publishMany("events.x", n)
	for _, l := range w.letters(n) {
		if l.Reason != dlq.ReasonExpired {
			t.Fatalf("%+v", l)
		}
	}
	w.quiet()
	w.empty()
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 700 {
		t.Errorf("%d dead letters", n)
	}
	w.hook.set(nil)
	w.publishMany("events.y", 10)
	w.exactly("fails", 10)
}

// Nothing expires while an operator holds it.
func TestNothingExpiresWhilePaused(t *testing.T) {
	t.Parallel()
	p := newPausing(t)
	p.cfg.Endpoints[0].Retry.MaxAge = 300 * time.Millisecond
	p.start()
	p.pause()
	const n = 50
	p.publishMany("events.x", n)
	published := time.Now()
	p.exactly("b", n)
	p.waitFor("it is too late", func() bool { return time.Since(published) > 2*time.Second })
	p.resume()
	p.exactly("a", n)
	p.quiet()
	if n := p.messages(p.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
