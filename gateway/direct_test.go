package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// newDirect is a world whose gateways deliver directly, to "a" and more endpoints.
func newDirect(t *testing.T, more ...string) *world {
	w := newWorld(t)
	w.cfg.Delivery.Direct = true
	for _, name := range more {
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, name))
		w.cfg.Subscriptions = append(w.cfg.Subscriptions, match.Subscription{Name: name, Subjects: []string{"events.>"}, Endpoints: []string{name}})
	}
	return w
}

// settled waits until the source has no event that is held, or waits.
func (w *world) settled() {
	w.Helper()
	w.waitFor("all events are settled", func() bool {
		c, err := w.js.Consumer(w.Context(), "EVENTS", w.gw.names.MatchConsumer())
		return err == nil && c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0
	})
}

// Nothing of an event that is delivered at once is stored.
func TestDirectStoresNothing(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b")
	w.start()
	const n = 200
	for i := range n {
		w.publish("events.x", fmt.Sprintf(`{"n":%d}`, i), nil)
		w.delivered("a", i+1)
		w.delivered("b", i+1)
	}
	w.quiet()
	direct, stored := w.metric("fanjet_direct_deliveries_total"), w.metric("fanjet_stored_deliveries_total")
	if direct+stored != 2*n || direct < n {
		t.Errorf("%v direct and %v stored deliveries of %d", direct, stored, 2*n)
	}
	if got := len(w.hook.all()); got != 2*n {
		t.Errorf("%d requests", got)
	}
}

// Under load nothing is lost, and nothing comes twice, whatever is stored of it.
func TestDirectUnderLoad(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b", "c")
	w.start()
	w.publishMany("events.x", 3000)
	for _, name := range []string{"a", "b", "c"} {
		w.delivered(name, 3000)
	}
	w.quiet()
	if n := len(w.hook.all()); n != 9000 {
		t.Errorf("%d requests, want 9000", n)
	}
	w.checkNoOverlap()
}

// A failed attempt goes on as a schedule, with its number, and ends as others do.
func TestDirectFailures(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status   func(r request) int
		attempts []string
		reason   dlq.Reason // empty: it is delivered
	}{
		"then accepted": {func(r request) int { return map[string]int{"3": 200}[r.attempt] }, []string{"1", "2", "3"}, ""},
		"exhausted":     {func(request) int { return 500 }, []string{"1", "2", "3"}, dlq.ReasonExhausted},
		"final":         {func(request) int { return http.StatusUnprocessableEntity }, []string{"1"}, dlq.ReasonRejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDirect(t)
			w.cfg.Endpoints[0].DeadLetterOn = []int{http.StatusUnprocessableEntity}
			w.hook.set(func(r request) int {
				if s := tt.status(r); s != 0 {
					return s
				}
				return http.StatusInternalServerError
			})
			w.start()
			w.publish("events.x", "{}", nil)
			if tt.reason == "" {
				w.delivered("a", 1)
			} else if l := w.letters(1)[0]; l.Reason != tt.reason || l.Attempts != len(tt.attempts) || l.Endpoint != "a" {
				t.Errorf("the letter says %+v", l)
			}
			w.quiet()
			var got []string
			for _, r := range w.hook.all() {
				got = append(got, r.attempt)
			}
			if !slices.Equal(got, tt.attempts) {
				t.Errorf("attempts %v, want %v", got, tt.attempts)
			}
			if w.metric("fanjet_direct_deliveries_total") != 1 {
				t.Error("it was not direct")
			}
		})
	}
}

// An attempt that hangs does not hold its event, nor the others of it, and is made once
// whatever comes of it.
func TestDirectAttemptHangs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer   int
		attempts int
		letters  int
	}{
		"and is accepted": {http.StatusOK, 1, 0},
		"and fails":       {http.StatusInternalServerError, 2, 0},
		"and is final":    {http.StatusUnprocessableEntity, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newDirect(t, "b")
			w.cfg.Endpoints[0].DeadLetterOn = []int{http.StatusUnprocessableEntity}
			release := w.hook.block("a")
			w.hook.set(func(r request) int {
				if r.endpoint == "a" && r.attempt == "1" {
					return tt.answer
				}
				return http.StatusOK
			})
			w.start()
			w.publish("events.x", "{}", nil)
			w.delivered("b", 1)
			w.settled()
			w.waitFor("a lease is taken", func() bool { return w.metric("fanjet_leases_total") == 1 })
			if n := w.messages(w.gw.names.RetriesStream()); n != 1 {
				t.Errorf("%d leases are stored, want 1", n)
			}
			release()
			if tt.letters > 0 {
				if l := w.letters(1)[0]; l.Attempts != 1 || l.Reason != dlq.ReasonRejected {
					t.Errorf("the letter says %+v", l)
				}
			} else {
				w.delivered("a", 1)
			}
			w.quiet()
			n := 0
			for _, r := range w.hook.all() {
				if r.endpoint == "a" {
					n++
				}
			}
			if n != tt.attempts || w.metric("fanjet_leases_total") != 1 {
				t.Errorf("%d attempts with %v leases, want %d with one", n, w.metric("fanjet_leases_total"), tt.attempts)
			}
			w.checkNoOverlap()
		})
	}
}

// A gateway that stops stores what did not begin, and repeats nothing.
func TestDirectStop(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a", func(e *endpoint.Settings) { e.MaxInFlight = 4 })}
	w.start()
	for i := range 3 {
		release := w.hook.block("a")
		w.publishMany("events.x", 300)
		w.waitFor("attempts are made", func() bool { return len(w.hook.all()) >= 300*i+4 })
		go func() { release() }()
		w.stop()
		w.start()
		w.delivered("a", 300*(i+1))
	}
	w.quiet()
	if n := len(w.hook.all()); n != 900 {
		t.Errorf("%d requests, want 900", n)
	}
}

// So does one whose attempts do not end in time.
func TestDirectStopInterrupts(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	var stop func()
	w.gw, stop = w.run(time.Millisecond)
	release := w.hook.block("a")
	w.publish("events.x", "{}", nil)
	w.waitFor("an attempt is made", func() bool { return len(w.hook.all()) == 1 })
	stop()
	release()
	if held, err := w.js.Consumer(w.Context(), "EVENTS", w.gw.names.MatchConsumer()); err != nil || held.CachedInfo().NumAckPending != 0 {
		t.Errorf("the event is not settled: %+v %v", held, err)
	}
	w.start()
	w.waitFor("it is attempted again", func() bool { return len(w.hook.all()) == 2 })
	w.quiet()
	for _, r := range w.hook.all() {
		if r.attempt != "1" {
			t.Errorf("attempt %s", r.attempt)
		}
	}
}

// What waits for an endpoint that is paused goes to its lane, and is delivered when it is
// resumed.
func TestDirectGoesToTheLane(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b")
	w.cfg.Endpoints[0].MaxInFlight = 1
	release := w.hook.block("a")
	w.start()
	w.publishMany("events.x", 20)
	w.waitFor("an attempt is made", func() bool { return len(w.hook.all()) > 0 })
	if _, err := state.SetPause(t.Context(), w.state(), "a", endpoint.Pause{Since: time.Now(), By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.delivered("b", 20)
	w.settled()
	release()
	if _, err := state.ClearPause(t.Context(), w.state(), "a"); err != nil {
		t.Fatal(err)
	}
	w.delivered("a", 20)
	w.quiet()
	w.empty()
	if n := len(w.hook.all()); n != 40 {
		t.Errorf("%d requests, want 40", n)
	}
	w.checkNoOverlap()
}

// What is held, and when the latest was delivered directly, can be watched.
func TestDirectIsMeasured(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	release := w.hook.block("a")
	w.start()
	retries, err := w.js.Stream(t.Context(), w.gw.names.RetriesStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteStream(t.Context(), w.gw.names.RetriesStream()); err != nil { // no lease ends the wait
		t.Fatal(err)
	}
	began := time.Now()
	w.publish("events.x", "{}", nil)
	w.waitFor("an event is held", func() bool { return w.metric("fanjet_events_held", "EVENTS") == 1 })
	if at := w.metric("fanjet_direct_last_success_timestamp_seconds"); at != 0 {
		t.Errorf("nothing was delivered, and the latest at %v", at)
	}
	if _, err := w.js.CreateStream(t.Context(), retries.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	release()
	w.delivered("a", 1)
	w.waitFor("none is held", func() bool { return w.metric("fanjet_events_held", "EVENTS") == 0 })
	w.waitFor("it is known when it was delivered", func() bool {
		at := w.metric("fanjet_direct_last_success_timestamp_seconds")
		return at >= float64(began.Unix()) && at <= float64(time.Now().Unix()+1)
	})
}
