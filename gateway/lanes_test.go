package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"fanjet/gateway/match"
	"fanjet/subscriber"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
)

// endpoints gives the configuration these endpoints, each of which gets all
// events.
func (w *world) endpoints(endpoints ...endpoint.Settings) {
	w.Helper()
	w.cfg.Endpoints = endpoints
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.Name
	}
	w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: names}}
}

// dispatcherOf is who delivers in a gateway that has started.
func dispatcherOf(gw *Gateway) *subscriber.Dispatcher {
	gw.reloading.mu.Lock()
	defer gw.reloading.mu.Unlock()
	return gw.reloading.endpoints.(*subscriber.Dispatcher)
}

// statusIn is what a gateway knows about an endpoint.
func statusIn(gw *Gateway, name string) endpoint.Status {
	for _, s := range dispatcherOf(gw).Statuses() {
		if s.Endpoint == name {
			return s
		}
	}
	return endpoint.Status{}
}

// state waits until an endpoint is in a state.
func (w *world) inState(name string, want endpoint.State) {
	w.Helper()
	w.waitFor(fmt.Sprintf("%s is %s", name, want), func() bool { return statusIn(w.gw, name).State == want })
}

// fast waits until an endpoint is served from the fast lane.
func (w *world) fast(endpoint string) {
	w.Helper()
	w.waitFor(endpoint+" is back in the fast lane", func() bool {
		laned, _ := dispatcherOf(w.gw).Laned(endpoint)
		return !laned
	})
}

// empty waits until nothing is left in any stream between the hops.
func (w *world) empty() {
	w.Helper()
	names := w.gw.names
	for _, stream := range []string{names.DeliveriesStream(), names.RetriesStream(), names.LanesStream()} {
		w.waitFor(stream+" is empty", func() bool { return w.messages(stream) == 0 })
	}
}

// counted is the sum of a metric's series.
func counted(w *world, gw *Gateway, name string) float64 {
	w.Helper()
	families, err := gw.opts.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// exactly waits until an endpoint has accepted n webhooks, and fails if any of
// them came twice. Call it last: after it more may come.
func (w *world) exactly(endpoint string, n int) {
	w.Helper()
	times := map[string]int{}
	for _, r := range w.delivered(endpoint, n) {
		if times[r.id]++; times[r.id] == 2 {
			w.Errorf("%s came to %s twice", r.id, endpoint)
		}
	}
	if len(times) != n {
		w.Errorf("%s has %d events, want %d", endpoint, len(times), n)
	}
}

// patient lets an endpoint wait longer than any test.
func patient(e *endpoint.Settings) { e.Timeout = 5 * time.Minute }

// An endpoint that hangs holds up no other. What waits for it leaves the shared
// log; once it answers, it gets everything once and returns to the fast lane.
//
// Promise 3: one endpoint's trouble holds up no other.
func TestHangingEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "hangs", patient), endpointFor(t, w.hook, "b"), endpointFor(t, w.hook, "c"))
	release := w.hook.block("hangs")
	w.start()
	const n = 400
	w.publishMany("events.x", n)
	w.exactly("b", n)
	w.exactly("c", n)
	w.inState("hangs", endpoint.StateSlow)
	inFlight := uint64(w.cfg.Endpoints[0].MaxInFlight)
	w.waitFor("its lane holds the rest", func() bool { return w.messages(w.gw.names.LanesStream()) == n-inFlight })
	w.publishMany("events.y", n) // they go to the lane at once
	w.exactly("b", 2*n)
	w.exactly("c", 2*n)
	if s := statusIn(w.gw, "hangs"); s.InFlight != int(inFlight) {
		t.Errorf("%+v", s)
	}
	release()
	w.delivered("hangs", 2*n)
	w.empty()
	w.fast("hangs")
	w.inState("hangs", endpoint.StateHealthy)
	w.publishMany("events.z", 1)
	w.exactly("hangs", 2*n+1)
	w.quiet()
	w.exactly("hangs", 2*n+1)
	w.checkNoOverlap()
	for _, e := range []string{"b", "c"} {
		if s := statusIn(w.gw, e); s.State != endpoint.StateHealthy {
			t.Errorf("%+v", s)
		}
	}
}

// The attempts of an endpoint that hangs end with its timeout, and with them the
// last of its deliveries has left the shared log.
func TestHangingEndpointLeavesTheSharedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "hangs", func(e *endpoint.Settings) {
		e.Timeout = time.Second
		e.Retry.Schedule = slices.Repeat([]time.Duration{100 * time.Millisecond}, 50)
		e.Circuit = endpoint.Circuit{Failures: 5, Probe: 100 * time.Millisecond, MaxProbe: 100 * time.Millisecond}
	}), endpointFor(t, w.hook, "b"))
	release := w.hook.block("hangs")
	w.start()
	const n = 200
	w.publishMany("events.x", n)
	w.exactly("b", n)
	w.inState("hangs", endpoint.StateOpen)
	for _, stream := range []string{w.gw.names.DeliveriesStream(), w.gw.names.RetriesStream()} {
		w.waitFor(stream+" is empty while it hangs", func() bool { return w.messages(stream) == 0 })
	}
	release()
	w.waitFor("it has every event", func() bool {
		ids := map[string]bool{}
		for _, r := range w.hook.got("hangs") {
			ids[r.id] = true
		}
		return len(ids) == n
	})
	w.empty()
	w.fast("hangs")
}

// Endpoints that are busy, but keep up, are not diverted.
func TestBusyEndpointsStayInTheFastLane(t *testing.T) {
	t.Parallel()
	for _, endpoints := range []int{1, 10} {
		t.Run(fmt.Sprint(endpoints), func(t *testing.T) {
			w := newWorld(t)
			var all []endpoint.Settings
			for i := range endpoints {
				all = append(all, endpointFor(t, w.hook, fmt.Sprintf("e%d", i)))
			}
			w.endpoints(all...)
			w.start()
			n := 5000 / endpoints
			w.publishMany("events.x", n)
			for _, e := range all {
				w.exactly(e.Name, n)
			}
			w.quiet()
			if moves := counted(w, w.gw, "fanjet_lane_moves_total"); moves != 0 {
				t.Errorf("%v deliveries were diverted", moves)
			}
			if n := w.messages(w.gw.names.LanesStream()); n != 0 {
				t.Errorf("%d deliveries in lanes", n)
			}
			w.stop()
		})
	}
}

// lane is the consumer of an endpoint's lane; nil: there is none.
func (w *world) lane(endpoint string) *jetstream.ConsumerInfo {
	w.Helper()
	c, err := w.js.Consumer(w.Context(), w.gw.names.LanesStream(), w.gw.names.LaneConsumer(endpoint))
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}
