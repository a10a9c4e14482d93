package gateway

import (
	"net/http"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/control"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// Two installations in one account, with prefixes of which one begins the other,
// share a source and nothing else.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	second := &world{T: t, nats: first.nats, js: first.js, hook: newReceiver(t), stop: func() {}}
	t.Cleanup(func() { second.stop() })
	cfg := *first.cfg
	cfg.NATS.Prefix = "fanjet-2"
	second.cfg = &cfg
	for _, w := range []*world{first, second} {
		w.cfg.Endpoints = []endpoint.Settings{
			endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "failing"),
			endpointFor(t, w.hook, "line", func(e *endpoint.Settings) { e.Ordered, e.MaxInFlight = true, 1 }),
		}
		w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"a", "failing", "line"}}}
		w.hook.set(func(r request) int {
			if r.endpoint == "failing" {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		})
		w.start()
	}

	// Each gets every event once, from a consumer of its own.
	const events = 60
	first.publishMany("events.x", events)
	for _, w := range []*world{first, second} {
		w.delivered("a", events)
		w.delivered("line", events)
		w.letters(events)
		w.quiet()
	}
	count := func(w *world, endpoint string) int { return len(w.hook.got(endpoint)) }
	for i, w := range []*world{first, second} {
		if a, line := count(w, "a"), count(w, "line"); a != events || line != events {
			t.Errorf("installation %d: %d and %d deliveries, want %d each", i+1, a, line, events)
		}
		if got, err := w.queue().Count(t.Context(), dlq.Filter{}); err != nil || got != events {
			t.Errorf("installation %d: %d dead letters, %v", i+1, got, err)
		}
		// Its own log is truncated below its own floor.
		w.waitFor("the log of deliveries is truncated", func() bool { return w.messages(w.gw.names.DeliveriesStream()) == 0 })
	}
	if a, b := first.streams(), second.streams(); len(a) != len(b) || len(a) < 6 {
		t.Errorf("streams %v and %v", a, b)
	} else if overlap(a, b) {
		t.Errorf("streams %v and %v overlap", a, b)
	}

	// A purge, a pause and what the control plane says concern one of them.
	if _, err := first.queue().Purge(t.Context(), dlq.Filter{}, dlq.PurgeOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := second.queue().Count(t.Context(), dlq.Filter{}); err != nil || got != events {
		t.Errorf("after a purge of the first one the second has %d dead letters, want %d: %v", got, events, err)
	}
	bucket, err := first.js.KeyValue(t.Context(), first.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.SetPause(t.Context(), bucket, "a", endpoint.Pause{Since: time.Now().UTC(), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	first.waitFor("the first one holds a", func() bool { return first.states("a")[endpoint.StatePaused] == 1 })
	if got := second.states("a"); len(got) != 1 || got[endpoint.StateHealthy] != 1 {
		t.Errorf("the second one says %v of its endpoint, want one that is healthy", got)
	}
	first.publishMany("events.held", 5)
	second.delivered("a", events+5)
	first.waitFor("the first one has 5 in its lane", func() bool { return first.messages(first.gw.names.LanesStream()) >= 5 })
	if got := count(first, "a"); got != events {
		t.Errorf("the paused endpoint got %d deliveries, want %d", got, events)
	}

	// One stops; the other goes on, and nothing is missing afterwards.
	second.stop()
	if _, err := state.ClearPause(t.Context(), bucket, "a"); err != nil {
		t.Fatal(err)
	}
	first.delivered("a", events+5)
	first.publishMany("events.alone", 5)
	first.delivered("a", events+10)
	second.start()
	second.delivered("a", events+10)
	second.quiet()
	if got := count(second, "a"); got != events+10 {
		t.Errorf("after a restart the second one has got %d deliveries, want %d", got, events+10)
	}
}

// streams are those that begin with the prefix of an installation, as it made
// them, by name.
func (w *world) streams() map[string]bool {
	w.Helper()
	found := make(map[string]bool)
	for _, p := range topology.PlanFor(w.gw.names, w.cfg, 1<<20) {
		if p.Source {
			continue
		}
		if _, err := w.js.Stream(w.Context(), p.Want.Name); err != nil {
			w.Errorf("stream %s: %v", p.Want.Name, err)
		}
		found[p.Want.Name] = true
	}
	return found
}

func overlap(a, b map[string]bool) bool {
	for name := range a {
		if b[name] {
			return true
		}
	}
	return false
}

// states counts the gateways of an installation by what they say of an endpoint.
func (w *world) states(name string) map[endpoint.State]int {
	w.Helper()
	reports, _, err := control.Statuses(w.Context(), w.nats.Conn(), w.gw.names, name)
	if err != nil {
		w.Fatal(err)
	}
	count := make(map[endpoint.State]int)
	for _, r := range reports {
		for _, s := range r.Statuses {
			count[s.State]++
		}
	}
	return count
}
