package gateway

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

// finally makes 404 final, with a circuit that is told to probe often.
func finally(e *endpoint.Settings) {
	e.DeadLetterOn = []int{404, 410}
	e.Circuit = endpoint.Circuit{Failures: 10, Probe: 100 * time.Millisecond, MaxProbe: 400 * time.Millisecond}
}

// A path that is wrong since a deployment turns no backlog into dead letters:
// the endpoint refuses, what waits for it waits, and goes out when the path is
// right again.
func TestRefusingEndpoint(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change   func(*endpoint.Settings)
		inFlight int
	}{
		"default": {func(*endpoint.Settings) {}, 32},
		"ordered": {func(e *endpoint.Settings) { e.Ordered = true }, 1},
		"one":     {func(e *endpoint.Settings) { e.MaxInFlight = 1 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "wrong", finally, tt.change), endpointFor(t, w.hook, "b"))
			w.answers("wrong", http.StatusNotFound)
			w.start()
			const n = 1000
			w.publishMany("events.x", n)
			w.inState("wrong", endpoint.StateRefusing)
			if sum := counted(w, w.gw, "fanjet_endpoints"); sum != 2 {
				t.Errorf("the metric knows %v endpoints", sum)
			}
			before := w.failures("wrong")
			var together int // attempts at once
			w.hook.set(func(r request) int {
				if r.endpoint != "wrong" {
					return 200
				}
				together = max(together, len(w.hook.active["wrong"]))
				return http.StatusNotFound
			})
			w.waitFor("a few more are tried", func() bool { return w.failures("wrong") >= before+5 })
			w.exactly("b", n)
			s := statusIn(w.gw, "wrong")
			if s.State != endpoint.StateRefusing || s.Reason == "" || s.Since.IsZero() {
				t.Errorf("%+v", s)
			}
			w.hook.set(nil)
			w.inState("wrong", endpoint.StateHealthy)
			lost := w.messages(w.gw.names.DeadLettersStream())
			if most := uint64(100 + tt.inFlight + 40); lost < 100 || lost > most {
				t.Errorf("%d dead letters, at most %d were to be expected", lost, most)
			}
			if together > 1 {
				t.Errorf("%d attempts at once while it refused", together)
			}
			w.delivered("wrong", int(n-lost))
			w.quiet()
			w.empty()
			w.exactly("wrong", int(n-lost))
			if now := w.messages(w.gw.names.DeadLettersStream()); now != lost {
				t.Errorf("%d dead letters more", now-lost)
			}
		})
	}
}

// What is tried again never makes an endpoint refuse, nor does one event that is
// refused again and again; and it can be switched off.
func TestNotRefusing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*endpoint.Settings)
		status int
	}{
		"switched off": {func(e *endpoint.Settings) { e.Circuit.Failures = 0 }, 404},
		"not final": {func(e *endpoint.Settings) {
			e.DeadLetterOn, e.Retry.Schedule = nil, []time.Duration{time.Millisecond}
		}, 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "a", finally, tt.change))
			w.answers("a", tt.status)
			w.start()
			const n = 300
			w.publishMany("events.x", n)
			for _, l := range w.letters(n) {
				if l.LastStatus != tt.status {
					t.Fatalf("%+v", l)
				}
			}
			if s := statusIn(w.gw, "a"); s.State == endpoint.StateRefusing {
				t.Errorf("%+v", s)
			}
		})
	}
}

// An endpoint that answered 410 and was resumed gets one delivery first. If it is
// still gone, it takes three to pause it again; if it is there, all follow.
func TestResumeOfAnEndpointThatIsGone(t *testing.T) {
	t.Parallel()
	for _, failures := range []int{0, 10} {
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			t.Parallel()
			p := newPausing(t)
			p.cfg.Endpoints[0].Circuit.Failures = failures
			p.answers("a", http.StatusGone)
			p.start()
			for p.statuses()[0].State != endpoint.StatePaused {
				p.publish("events.first", "{}", nil)
			}
			const n = 200
			p.publishMany("events.x", n)
			p.waitFor("its attempts have ended", func() bool { return p.inFlight() == 0 })
			lost := p.messages(p.gw.names.DeadLettersStream())
			for range 2 {
				p.resume()
				p.waitFor("it was tried again", func() bool { return p.messages(p.gw.names.DeadLettersStream()) >= lost+3 })
				p.waitFor("it is paused again", func() bool { return p.inState(endpoint.StatePaused) })
				p.waitFor("its attempts have ended", func() bool { return p.inFlight() == 0 })
				if now := p.messages(p.gw.names.DeadLettersStream()); now != lost+3 {
					t.Errorf("%d dead letters for a resume, not 3", now-lost)
				}
				lost = p.messages(p.gw.names.DeadLettersStream())
			}
			release := p.hook.block("a")
			p.hook.set(nil)
			before := p.requests()
			p.resume()
			p.waitFor("one goes first", func() bool { return p.requests() == before+1 })
			if s := p.statuses()[0]; s.State != endpoint.StateRefusing || s.InFlight != 1 {
				t.Errorf("%+v", s)
			}
			if p.requests() != before+1 {
				t.Errorf("%d deliveries, not one", p.requests()-before)
			}
			release()
			p.waitFor("all follow", func() bool {
				return len(p.hook.got("a"))+int(lost) == len(p.hook.got("b")) && len(p.hook.got("b")) >= n
			})
			p.quiet()
			if s := p.statuses()[0]; s.State == endpoint.StateRefusing {
				t.Errorf("%+v", s)
			}
		})
	}
}
