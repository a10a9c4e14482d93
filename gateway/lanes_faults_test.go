package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fanjet/internal/state"
	"fanjet/subscriber"
	"fanjet/subscriber/endpoint"
)

// More endpoints than lanes that are pulled at once fail together, and heal.
func TestManyEndpointsFailAndHeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const endpoints, n = 300, 4
	all := make([]endpoint.Settings, endpoints)
	for i := range all {
		all[i] = endpointFor(t, w.hook, fmt.Sprintf("e%03d", i), steadfast, func(e *endpoint.Settings) {
			e.Circuit.Failures = 1
			e.Circuit.Probe, e.Circuit.MaxProbe = 2*time.Second, 2*time.Second
		})
	}
	w.endpoints(all...)
	w.hook.set(func(request) int { return 503 })
	w.start()
	w.publishMany("events.x", n)
	w.waitFor("all circuits are open", func() bool {
		for _, s := range dispatcherOf(w.gw).Statuses() {
			if s.State != endpoint.StateOpen {
				return false
			}
		}
		return true
	})
	w.hook.set(nil)
	w.publishMany("events.y", n)
	for _, e := range all {
		w.delivered(e.Name, 2*n)
	}
	w.quiet()
	w.empty()
	for _, e := range all {
		w.exactly(e.Name, 2*n)
		if made, failed := w.attempts(e.Name), w.failures(e.Name); made != 2*n+failed {
			t.Errorf("%s: %d attempts are counted, %d failed", e.Name, made, failed)
		}
	}
	w.checkNoOverlap()
}

// held is a world whose endpoint "a" is laned and hangs: what is published
// waits in its lane. It releases it.
func heldWorld(t *testing.T, n int) (w *world, release func()) {
	t.Helper()
	w = newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", patient, func(e *endpoint.Settings) { e.MaxInFlight = 4 }))
	release = w.hook.block("a")
	w.start()
	w.publishMany("events.x", n)
	w.waitFor("it waits in the lane", func() bool { return w.messages(w.gw.names.LanesStream()) == uint64(n-4) })
	w.waitFor("the lane is pulled", func() bool { l := w.lane("a"); return l != nil && l.NumAckPending > 0 })
	return w, release
}

// Two replicas serve one lane, and either may publish to it while the other
// empties it.
func TestTwoReplicasServeOneLane(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 200)
	second, stop := w.run(5 * time.Second)
	defer stop()
	w.waitFor("both pull the lane", func() bool { return statusIn(second, "a").InFlight == 4 })
	release()
	w.publishMany("events.y", 200)
	w.delivered("a", 400)
	w.publishMany("events.z", 200)
	w.delivered("a", 600)
	w.quiet()
	w.empty()
	w.exactly("a", 600)
	w.checkNoOverlap()
}

// The consumer of a lane is deleted by hand while it is pulled. What was
// settled, but is not removed yet, comes again, and is known.
func TestLaneConsumerIsDeleted(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 100)
	stream, err := w.js.Stream(t.Context(), w.gw.names.LanesStream())
	if err != nil {
		t.Fatal(err)
	}
	remove := func() {
		t.Helper()
		if err := stream.DeleteConsumer(t.Context(), w.gw.names.LaneConsumer("a")); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	release()
	w.delivered("a", 50)
	remove()
	w.delivered("a", 100)
	w.publishMany("events.y", 50)
	w.delivered("a", 150)
	w.quiet()
	w.empty()
	w.exactly("a", 150)
	w.checkNoOverlap()
}

// The state bucket is deleted while lanes hold deliveries. They do not need it.
func TestStateBucketIsDeletedWhileLanesHold(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 100)
	if err := w.js.DeleteKeyValue(t.Context(), w.gw.names.StateBucket()); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the gateway says so", func() bool { return w.gw.Ready() != nil })
	release()
	w.delivered("a", 100)
	w.publishMany("events.y", 50)
	w.delivered("a", 150)
	w.empty()
	w.exactly("a", 150)
}

// A lane that takes nothing: what would go there waits as a schedule that is no
// attempt, new events go to the shared log, and when there is room all goes on.
func TestLaneStreamIsFull(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 50)
	limit := func(bytes int64) {
		t.Helper()
		stream, err := w.js.Stream(t.Context(), w.gw.names.LanesStream())
		if err != nil {
			t.Fatal(err)
		}
		next := stream.CachedInfo().Config
		next.MaxBytes = bytes
		if _, err := w.js.UpdateStream(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	w.publishMany("events.y", 50)
	w.waitFor("they wait as schedules", func() bool { return w.messages(w.gw.names.RetriesStream()) == 50 })
	if refused := counted(w, w.gw, "fanjet_lane_refused_total"); refused < 50 {
		t.Errorf("%v refused moves are counted", refused)
	}
	limit(-1)
	release()
	w.delivered("a", 100)
	w.quiet()
	w.empty()
	w.exactly("a", 100)
	if made := w.attempts("a"); made != 100 {
		t.Errorf("%d attempts of 100 deliveries", made)
	}
	w.checkNoOverlap()
}

// A gateway is stopped and started with lanes full: nothing is lost, nothing
// comes twice, and no attempt is burnt.
func TestRestartWithFullLanes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "fails", steadfast), endpointFor(t, w.hook, "limited", func(e *endpoint.Settings) {
		e.RateLimit = endpoint.Rate{Count: 50, Per: time.Second}
	}))
	w.answers("fails", 500)
	w.start()
	const n = 300
	w.publishMany("events.x", n)
	w.inState("fails", endpoint.StateOpen)
	w.inState("limited", endpoint.StateLimited)
	for range 3 {
		w.stop()
		w.start()
	}
	w.hook.set(nil)
	w.delivered("fails", n)
	w.delivered("limited", n)
	w.quiet()
	w.empty()
	w.exactly("fails", n)
	w.exactly("limited", n)
	w.checkNoOverlap()
	if made, failed := w.attempts("fails"), w.failures("fails"); made != n+failed {
		t.Errorf("%d attempts are counted of %d deliveries, of which %d failed", made, n, failed)
	}
}

// NATS is restarted while lanes hold deliveries.
func TestNATSRestartsWithFullLanes(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 200)
	w.nats.Restart()
	release()
	w.waitFor("a has every event", func() bool {
		ids := map[string]bool{}
		for _, r := range w.hook.got("a") {
			ids[r.id] = true
		}
		return len(ids) == 200
	})
	w.publishMany("events.y", 10)
	w.empty()
	w.checkNoOverlap()
}

// The consumer of an empty lane goes after a rest, and comes back when the lane
// is needed; nothing is lost or doubled in between.
func TestLaneConsumersRetire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a"))
	gw, err := New(Options{Config: w.cfg, Version: "test", Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) { o.LaneRest = time.Millisecond }
	w.gw, w.stop = gw, w.launch(gw)
	bucket, err := w.js.KeyValue(t.Context(), gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range 4 {
		if _, err := state.SetPause(t.Context(), bucket, "a", endpoint.Pause{Since: time.Now(), By: "ann"}); err != nil {
			t.Fatal(err)
		}
		w.inState("a", endpoint.StatePaused)
		w.publishMany("events.x", 30)
		n += 30
		w.waitFor("they wait in the lane", func() bool { return w.messages(gw.names.LanesStream()) > 0 })
		if _, err := state.ClearPause(t.Context(), bucket, "a"); err != nil {
			t.Fatal(err)
		}
		w.delivered("a", n)
		w.waitFor("the consumer is gone", func() bool { return w.messages(gw.names.LanesStream()) == 0 && w.lane("a") == nil })
	}
	w.exactly("a", n)
	w.checkNoOverlap()
	w.stop()
}

// An endpoint leaves the configuration while its lane is full, and comes back
// in time. When it leaves again, the grace time begins anew.
func TestRemovedEndpointKeepsItsLane(t *testing.T) {
	t.Parallel()
	w, release := heldWorld(t, 100)
	with, without := w.cfg, w.version(nil, nil)
	w.reload(without)
	state, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	missing := func() bool {
		_, err := state.Get(t.Context(), "removed.a")
		return err == nil
	}
	w.waitFor("it is missed", missing)
	w.reload(w.version(with.Endpoints, with.Subscriptions))
	w.waitFor("it is known again", func() bool { return !missing() })
	release()
	w.publishMany("events.y", 10)
	w.delivered("a", 110)
	w.quiet()
	w.empty()
	w.exactly("a", 110)
	w.checkNoOverlap()
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// After the grace time a removed endpoint's lane is dead-lettered.
func TestRemovedEndpointsLaneIsDeadLettered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", steadfast), endpointFor(t, w.hook, "b"))
	w.answers("a", 500)
	gw, err := New(Options{Config: w.cfg, Version: "test", Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) { o.RemovalGrace = 3 * time.Second }
	w.gw, w.stop = gw, w.launch(gw)
	const n = 600
	w.publishMany("events.x", n)
	w.inState("a", endpoint.StateOpen)
	w.exactly("b", n)
	w.reload(w.version([]endpoint.Settings{w.cfg.Endpoints[1]}, nil))
	for _, l := range w.letters(n) {
		if l.Reason != "endpoint_removed" || l.Endpoint != "a" {
			t.Fatalf("%+v", l)
		}
	}
	w.quiet()
	w.empty()
	if have := w.messages(gw.names.DeadLettersStream()); have != n {
		t.Errorf("%d dead letters", have)
	}
	w.stop()
}

// The grace time is one of the server's clock: an entry that says, by the clock
// of a replica that was 11 minutes behind, that it is over already begins when the
// server stores it.
func TestGraceTimeIsTheServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", steadfast), endpointFor(t, w.hook, "b"))
	w.answers("a", 500)
	gw, err := New(Options{Config: w.cfg, Version: "test", Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	const grace = 3 * time.Second
	gw.adjust = func(o *subscriber.Options) { o.RemovalGrace = grace }
	w.gw, w.stop = gw, w.launch(gw)
	const n = 20
	w.publishMany("events.x", n)
	w.inState("a", endpoint.StateOpen)
	w.exactly("b", n)
	w.reload(w.version([]endpoint.Settings{w.cfg.Endpoints[1]}, nil))
	stored, err := w.state().Put(t.Context(), "removed.a", []byte(time.Now().Add(-11*time.Minute).UTC().Format(time.RFC3339Nano)))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := w.state().GetRevision(t.Context(), "removed.a", stored)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range w.letters(n) {
		if early := entry.Created().Add(grace).Sub(l.DeadLettered); early > 0 {
			t.Fatalf("letter %d was written %v before the grace time ended", l.Seq, early)
		}
	}
	w.stop()
}

// A replica whose configuration is older, because its reload failed for example,
// does not give up what another one delivers: that one deletes the entry which
// says that the endpoint is missing, again and again.
func TestOlderConfigurationGivesNothingUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", steadfast), endpointFor(t, w.hook, "b"))
	w.answers("a", 500)
	w.start()
	const n = 50
	w.publishMany("events.x", n)
	w.inState("a", endpoint.StateOpen)
	w.exactly("b", n)

	entries, err := w.state().Watch(t.Context(), "removed.a", jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = entries.Stop() }()
	gw, err := New(Options{Config: w.version(w.cfg.Endpoints[1:], nil), Version: "test", Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) { o.RemovalGrace = time.Second }
	stop := w.launch(gw)
	made := 0
	w.waitFor("the grace time has begun anew some times, or it is over", func() bool {
		select {
		case entry := <-entries.Updates():
			if entry != nil {
				made++
			}
		default:
		}
		return made > 4 || w.messages(w.gw.names.DeadLettersStream()) > 0
	})
	if letters := w.messages(w.gw.names.DeadLettersStream()); letters > 0 {
		t.Errorf("%d dead letters of an endpoint that a replica knows", letters)
	}
	stop()
	w.answers("a", 200)
	w.exactly("a", n)
	w.stop()
}
