package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/control"
	"fanjet/internal/jsapi"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// pausing is a world with the endpoints "a", which is paused in tests, and "b".
type pausing struct{ *world }

func newPausing(t *testing.T) pausing {
	t.Helper()
	w := newWorld(t)
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b"))
	w.cfg.Subscriptions[0].Endpoints = []string{"a", "b"}
	return pausing{w}
}

func (p pausing) state() jetstream.KeyValue {
	p.Helper()
	kv, err := jsapi.OpenBucket(p.Context(), p.js, p.gw.names.StateBucket())
	if err != nil {
		p.Fatal(err)
	}
	return kv
}

// pause pauses "a" and waits until every gateway knows.
func (p pausing) pause() {
	p.Helper()
	pause := endpoint.Pause{Since: time.Now().UTC(), By: "ann"}
	if _, err := state.SetPause(p.Context(), p.state(), "a", pause); err != nil {
		p.Fatal(err)
	}
	p.waitFor("all gateways hold a", func() bool { return p.inState(endpoint.StatePaused) && p.inFlight() == 0 })
}

func (p pausing) resume() {
	p.Helper()
	if was, err := state.ClearPause(p.Context(), p.state(), "a"); err != nil || was == nil {
		p.Fatalf("ClearPause() = %v, %v", was, err)
	}
}

func (p pausing) statuses() []endpoint.Status {
	p.Helper()
	reports, _, err := control.Statuses(p.Context(), p.nats.Conn(), p.gw.names, "a")
	if err != nil {
		p.Fatal(err)
	}
	var statuses []endpoint.Status
	for _, r := range reports {
		statuses = append(statuses, r.Statuses...)
	}
	return statuses
}

func (p pausing) inState(state endpoint.State) bool {
	return !slices.ContainsFunc(p.statuses(), func(s endpoint.Status) bool { return s.State != state })
}

func (p pausing) inFlight() (n int) {
	for _, s := range p.statuses() {
		n += s.InFlight
	}
	return n
}

// requests is how many "a" has got.
func (p pausing) requests() (n int) {
	for _, r := range p.hook.all() {
		if r.endpoint == "a" {
			n++
		}
	}
	return n
}

func (p pausing) held(n uint64) {
	p.Helper()
	p.waitFor("the deliveries wait in the lane", func() bool { return p.messages(p.gw.names.LanesStream()) == n })
}

func TestPauseHoldsThroughARestart(t *testing.T) {
	t.Parallel()
	p := newPausing(t)
	p.start()
	p.pause()
	p.publishMany("events.x", 50)
	p.delivered("b", 50)
	p.held(50)
	p.stop()

	// A gateway that starts, and another one beside it, let nothing out.
	p.start()
	_, stopOther := p.run(5 * time.Second)
	defer stopOther()
	p.publishMany("events.x", 50)
	p.delivered("b", 100)
	p.held(100)
	if n := p.requests(); n != 0 || !p.inState(endpoint.StatePaused) {
		t.Errorf("%d requests to a paused endpoint, which is %+v", n, p.statuses())
	}

	p.resume()
	p.delivered("a", 100)
	p.quiet()
	if a, b := p.requests(), len(p.hook.got("b")); a != 100 || b != 100 {
		t.Errorf("%d and %d requests, want 100 each", a, b)
	}
	p.checkNoOverlap()
}

func TestPauseDuringLoad(t *testing.T) {
	t.Parallel()
	p := newPausing(t)
	p.start()
	const n = 2000
	p.publishMany("events.x", n/2)
	p.delivered("a", n/20)
	p.pause()
	before := p.requests()
	p.publishMany("events.x", n/2)
	p.delivered("b", n)
	p.held(uint64(n - before))
	if after := p.requests(); after != before {
		t.Errorf("%d requests after the pause", after-before)
	}
	p.resume()
	p.delivered("a", n)
	p.quiet()
	if got := p.requests(); got != n {
		t.Errorf("%d requests for %d deliveries", got, n)
	}
}

func TestPauseOutlivesTheStateBucket(t *testing.T) {
	t.Parallel()
	p := newPausing(t)
	p.start()
	p.pause()
	if err := p.js.DeleteKeyValue(t.Context(), p.gw.names.StateBucket()); err != nil {
		t.Fatal(err)
	}
	p.waitFor("the gateway is not ready", func() bool { return p.gw.Ready() != nil })
	p.publishMany("events.x", 20)
	p.delivered("b", 20)
	p.held(20)
	if n := p.requests(); n != 0 {
		t.Errorf("%d requests to a paused endpoint", n)
	}
	if _, err := p.js.CreateKeyValue(t.Context(), topology.StateBucket(p.gw.names, 1)); err != nil {
		t.Fatal(err)
	}
	p.waitFor("the pause is stored anew", func() bool {
		pauses, err := state.Pauses(t.Context(), p.state())
		return err == nil && pauses["a"].By == "ann"
	})
	p.resume()
	p.delivered("a", 20)
	p.waitFor("the gateway is ready again", func() bool { return p.gw.Ready() == nil })
}

// What is given back when a lane rests is sent again at once when it goes on.
// The server (2.15) forgets what was given back when the lane is purged, and
// would send it no sooner than after its AckWait: nothing is purged in between.
func TestGivenBackIsNotPurged(t *testing.T) {
	t.Parallel()
	p := newPausing(t)
	p.cfg.Endpoints[0].MaxInFlight = 1
	p.start()
	p.pause()
	const n = 40
	p.publishMany("events.x", n)
	p.held(n)
	wire := make(chan *nats.Msg, 64<<10)
	sub, err := p.nats.Conn().ChanSubscribe("$JS.>", wire)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()

	release := p.hook.blockAfter("a", 5)
	p.resume()
	p.waitFor("five are delivered and the next one is attempted", func() bool { return p.requests() == 6 })
	if _, err := state.SetPause(t.Context(), p.state(), "a", endpoint.Pause{Since: time.Now().UTC(), By: "ann"}); err != nil {
		t.Fatal(err)
	}
	names, purged, givenBack := p.gw.names, 0, 0
	for purged == 0 || givenBack == 0 {
		var m *nats.Msg
		select {
		case m = <-wire:
		case <-time.After(2 * time.Minute):
			t.Fatalf("waited too long: %d purges, %d deliveries given back", purged, givenBack)
		}
		switch {
		case m.Subject == "$JS.API.STREAM.PURGE."+names.LanesStream():
			if givenBack > 0 {
				t.Fatalf("the lane is purged after %d deliveries were given back", givenBack)
			}
			purged++
		case strings.HasPrefix(m.Subject, "$JS.ACK."+names.LanesStream()+".") && string(m.Data) == "-NAK":
			givenBack++
		}
	}
	release()
	p.resume()
	p.delivered("a", n)
	p.quiet()
	if got := p.requests(); got != n {
		t.Errorf("%d requests for %d deliveries", got, n)
	}
}
