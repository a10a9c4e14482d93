package gateway

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/gateway/match"
	"fanjet/internal/wire"
	"fanjet/subscriber"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Attempts in flight may end during the grace time; they count, and are not
// made again after the restart.
func TestStopLetsAttemptsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.hook.block("a")
	w.start()
	w.publishMany("events.x", 10)
	w.waitFor("the attempts are in flight", func() bool { return len(w.hook.all()) == 10 })
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	w.waitFor("it is draining", func() bool { return w.gw.Ready() != nil })
	release()
	<-stopped
	if n := len(w.hook.got("a")); n != 10 {
		t.Errorf("%d attempts ended well", n)
	}
	w.start()
	w.quiet()
	if n := len(w.hook.all()); n != 10 {
		t.Errorf("%d requests for 10 events", n)
	}
}

// A gateway that has stopped leaves no connections behind.
func TestStopClosesConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var open atomic.Int32
	hook := httptest.NewUnstartedServer(w.hook)
	hook.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	hook.Start()
	t.Cleanup(hook.Close)
	w.cfg.Endpoints[0].URL.Host = hook.Listener.Addr().String()
	w.start()
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	if open.Load() == 0 {
		t.Fatal("no connection was kept")
	}
	w.stop()
	w.waitFor("the connections are closed", func() bool { return open.Load() == 0 })
}

// An attempt that a stop cuts off was not made: the next one has its number.
func TestInterruptedAttemptIsNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = []time.Duration{time.Hour}
	release := w.hook.block("a")
	var stop func()
	w.gw, stop = w.run(50 * time.Millisecond)
	w.publishMany("events.x", 5)
	w.waitFor("the attempts are in flight", func() bool { return len(w.hook.all()) == 5 })
	stop()
	if n := w.messages(w.gw.names.RetriesStream()); n != 0 {
		t.Errorf("%d retries were scheduled", n)
	}
	release()
	began := time.Now()
	w.start()
	for _, r := range w.delivered("a", 5) {
		if r.attempt != "1" {
			t.Errorf("attempt %s", r.attempt)
		}
	}
	if waited := time.Since(began); waited > wire.DeliverAckWait/2 {
		t.Errorf("they came again only after %v: they were not given back", waited)
	}
}

// A restart in the middle continues where it stopped, and doubles nothing.
func TestRestartContinues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	const n = 2000
	w.publishMany("events.x", n)
	for i := range 3 {
		w.waitFor("some more have arrived", func() bool { return len(w.hook.got("a")) > i*400 })
		w.stop()
		w.start()
	}
	w.delivered("a", n)
	w.quiet()
	if got := len(w.hook.all()); got != n {
		t.Errorf("%d requests for %d events", got, n)
	}
}

// The log is truncated, but never beyond a delivery that is not settled.
func TestTruncationKeepsWhatIsUnsettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "slow")}
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "all", Subjects: []string{"events.x"}, Endpoints: []string{"a"}},
		{Name: "slow", Subjects: []string{"events.slow"}, Endpoints: []string{"slow"}},
	}
	release := w.hook.block("slow")
	w.start()
	log := w.gw.names.DeliveriesStream()
	w.publishMany("events.x", 100)
	w.waitFor("the log is empty", func() bool { return w.messages(log) == 0 && len(w.hook.got("a")) == 100 })
	w.publish("events.slow", "{}", nil)
	w.publishMany("events.x", 200)
	w.delivered("a", 300)
	began := time.Now()
	w.waitFor("truncation was tried a few times", func() bool { return time.Since(began) > 5*truncateEvery })
	if n := w.messages(log); n != 201 {
		t.Errorf("the log holds %d deliveries, not the unsettled one and the 200 after it", n)
	}
	release()
	w.delivered("slow", 1)
	w.waitFor("the log is empty", func() bool { return w.messages(log) == 0 })
}

// Replicas share the work; each delivery is made by one of them.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	_, stopOther := w.run(5 * time.Second)
	defer stopOther()
	const n = 1000
	w.publishMany("events.x", n)
	w.delivered("a", n)
	w.quiet()
	if got := len(w.hook.all()); got != n {
		t.Errorf("%d requests for %d events", got, n)
	}
	w.stop() // perhaps the active matcher
	w.publishMany("events.x", n)
	w.delivered("a", 2*n)
	w.quiet()
	if got := len(w.hook.all()); got != 2*n {
		t.Errorf("%d requests for %d events", got, 2*n)
	}
	w.checkNoOverlap()
}

// When the server lost the matcher's consumer, the cursor knows what was fanned
// out: the week that EVENTS keeps does not go out again.
func TestCursorSurvivesTheConsumer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	const n = 50
	w.publishMany("events.x", n)
	w.delivered("a", n)
	w.stop() // writes the cursor
	if err := w.js.DeleteConsumer(t.Context(), "EVENTS", w.gw.names.MatchConsumer()); err != nil {
		t.Fatal(err)
	}
	// Neither do the hop ids help any more.
	if err := w.js.DeleteStream(t.Context(), w.gw.names.DeliveriesStream()); err != nil {
		t.Fatal(err)
	}
	w.publish("events.x", "new", nil)
	w.start()
	w.delivered("a", n+1)
	w.quiet()
	if got := w.hook.all(); len(got) != n+1 || got[n].body != "new" {
		t.Errorf("%d requests for %d events", len(got), n+1)
	}
}

// An endpoint that is gone from the configuration keeps its deliveries for the
// grace time, and gets them if it comes back.
func TestRemovedEndpointComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	endpoints := w.cfg.Endpoints
	seq := w.publish("events.x", "{}", nil)
	if _, err := w.js.PublishMsg(t.Context(), w.delivery("a", seq)); err != nil {
		t.Fatal(err)
	}
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	w.start()
	w.waitFor("the delivery waits in the lane", func() bool { return w.messages(w.gw.names.LanesStream()) == 1 })
	state, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	w.waitFor("it is known since when it is missing", func() bool {
		_, err := state.Get(t.Context(), "removed.a")
		return err == nil
	})
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters before the grace time", n)
	}
	w.stop()
	w.cfg.Endpoints = endpoints
	w.start()
	w.waitFor("it counts as known again", func() bool {
		_, err := state.Get(t.Context(), "removed.a")
		return err != nil
	})
	if got := w.delivered("a", 1)[0]; got.attempt != "1" {
		t.Errorf("waiting counted as an attempt: %+v", got)
	}
}

func TestRemovedEndpointIsDeadLetteredAfterTheGraceTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	seq := w.publish("events.x", "{}", nil)
	state, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.PutString(t.Context(), "removed.a", time.Now().Format(time.RFC3339Nano)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(t.Context(), w.delivery("a", seq)); err != nil {
		t.Fatal(err)
	}
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	gw, err := New(Options{Config: w.cfg, Version: "test", Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) { o.RemovalGrace = time.Second }
	w.gw, w.stop = gw, w.launch(gw)
	if l := w.letters(1)[0]; l.Reason != "endpoint_removed" || l.Attempts != 0 || l.Endpoint != "a" {
		t.Errorf("%+v", l)
	}
	if n := len(w.hook.all()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// When nobody can tell since when an endpoint is gone, its deliveries wait in
// its lane all the same, and do not go round in circles.
func TestUnknownEndpointWithoutState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	names := w.gw.names
	seq := w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	if err := w.js.DeleteKeyValue(t.Context(), names.StateBucket()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.PublishMsg(t.Context(), w.delivery("gone", seq)); err != nil {
		t.Fatal(err)
	}
	w.waitFor("it waits in its lane", func() bool { return w.messages(names.LanesStream()) == 1 })
	consumer, err := w.js.Consumer(t.Context(), names.DeliveriesStream(), names.DeliverConsumer())
	if err != nil {
		t.Fatal(err)
	}
	if n := consumer.CachedInfo().NumRedelivered; n != 0 {
		t.Errorf("%d deliveries came again", n)
	}
}

// A message that somebody published on our subjects is no delivery: it is
// never signed, and it is not lost either.
func TestForeignMessageIsDeadLettered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	if _, err := w.js.Publish(t.Context(), w.gw.names.DeliverSubject("a"), []byte("sign this")); err != nil {
		t.Fatal(err)
	}
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	w.waitFor("it is a dead letter", func() bool { return w.messages(w.gw.names.DeadLettersStream()) == 1 })
	if n := len(w.hook.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Nor can one that looks like a delivery stop or steer the others.
func TestForgedDeliveryIsDeadLettered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.set(func(request) int { return 500 })
	w.start()
	seq := w.publish("events.x", "{}", nil)
	w.letters(1)
	for i, forge := range []nats.Header{
		{wire.HeaderKey: {"a.b"}}, {wire.HeaderKey: {"a b"}}, {wire.HeaderEndpoint: {"b"}}, {wire.HeaderAttempt: {"0"}},
	} {
		m := w.delivery("a", seq)
		maps.Copy(m.Header, forge)
		m.Header.Set(nats.MsgIdHdr, fmt.Sprint("forged ", i))
		if _, err := w.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		w.waitFor(fmt.Sprintf("%v is a dead letter", forge), func() bool { return w.messages(w.gw.names.DeadLettersStream()) == uint64(i)+2 })
	}
	if n := len(w.hook.all()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

// NATS that is not there yet is waited for; one that goes away and comes back
// loses nothing.
func TestOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publishMany("events.x", 100)
	w.delivered("a", 50)
	w.nats.Restart()
	w.waitFor("it is ready again", func() bool { return w.gw.Ready() == nil })
	w.publishMany("events.x", 100)
	ids := map[string]bool{}
	w.waitFor("everything was delivered", func() bool {
		for _, r := range w.hook.got("a") {
			ids[fmt.Sprint(r.id)] = true
		}
		return len(ids) == 200
	})
	w.quiet()
}
