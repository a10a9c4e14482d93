package gateway

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/faultproxy"
	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"
)

// metricOf is [world.metric] of another gateway.
func (w *world) metricOf(gw *Gateway, name string, values ...string) float64 {
	w.Helper()
	mine := w.gw
	defer func() { w.gw = mine }()
	w.gw = gw
	return w.metric(name, values...)
}

// requests is how many an endpoint got.
func (w *world) requests(endpoint string) (n int) {
	for _, r := range w.hook.all() {
		if r.endpoint == endpoint {
			n++
		}
	}
	return n
}

// tried are the numbers of an endpoint's attempts, in order of their requests.
func (w *world) tried(endpoint string) (all []string) {
	for _, r := range w.hook.all() {
		if r.endpoint == endpoint {
			all = append(all, r.attempt)
		}
	}
	return all
}

// hangs reports whether an endpoint answers nothing at the moment.
func (w *world) hangs(endpoint string) bool {
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	return len(w.hook.active[endpoint]) > 0
}

// copied copies the folder of a server that lives, and replaces a file now and then.
func copied(t *testing.T, folder string) string {
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(folder))
		if err == nil {
			return to
		}
		if !errors.Is(err, fs.ErrNotExist) || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// An event went to one that accepts it, one that fails and one that hangs when everything
// is killed: nothing gets a second life. The one that fails gets each attempt once.
func TestDirectOverAKill(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "fails", "hangs")
	patient := func(e *endpoint.Settings) {
		e.Retry.Schedule = []time.Duration{4 * time.Second, 10 * time.Millisecond}
		e.Timeout = 3 * time.Second
	}
	patient(&w.cfg.Endpoints[1])
	patient(&w.cfg.Endpoints[2])
	w.hook.set(func(r request) int {
		if r.endpoint == "fails" && r.attempt != "3" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	release := w.hook.block("hangs")
	w.gw, w.stop = w.run(time.Millisecond)
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	w.waitFor("the rest is stored", func() bool { return w.messages(w.gw.names.RetriesStream()) == 2 })

	// What a server leaves that is killed, but for what it had in memory.
	left := copied(t, w.nats.StoreDir())
	w.stop()
	w.nats.Stop()
	w.serve(natstest.Options{Listen: true, StoreDir: left})
	release()
	before := w.requests("hangs")
	w.start()
	w.delivered("fails", 1)
	w.delivered("hangs", 1)
	w.quiet()
	if got := w.tried("fails"); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("the one that fails got the attempts %v", got)
	}
	if n := w.requests("hangs") - before; n > 1 {
		t.Errorf("the one that hung got %d more", n)
	}
	if n := w.requests("a"); n > 2 {
		t.Errorf("the one that accepts got %d", n)
	}
}

// Gateways take over from each other again and again: each event is delivered once, and
// only who has the events delivers any directly.
func TestDirectTakeovers(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b")
	w.start()
	other, stopOther := w.run(5 * time.Second)
	defer stopOther()
	source, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	direct := func(gw *Gateway) float64 { return w.metricOf(gw, "fanjet_direct_deliveries_total") }
	const rounds, perRound = 6, 50
	for round := range rounds {
		before := []float64{direct(w.gw), direct(other)}
		w.publishFrom(round*perRound, perRound)
		w.delivered("a", (round+1)*perRound)
		w.delivered("b", (round+1)*perRound)
		w.settled()
		if mine, others := direct(w.gw) > before[0], direct(other) > before[1]; mine && others {
			t.Errorf("both delivered directly in round %d", round)
		}
		if err := source.UnpinConsumer(t.Context(), w.gw.names.MatchConsumer(), topology.MatchGroup); err != nil {
			t.Fatal(err)
		}
	}
	w.quiet()
	if n := len(w.hook.all()); n != 2*rounds*perRound {
		t.Errorf("%d requests, want %d", n, 2*rounds*perRound)
	}
	if direct(w.gw)+direct(other) == 0 {
		t.Error("nothing was direct")
	}
}

// A gateway that is cut off begins nothing of what it holds: another one has it.
func TestDirectCutOff(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	one := func(e *endpoint.Settings) { e.MaxInFlight = 1 }
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a", one)}
	gw, proxy := w.runBehind()
	const n = 40
	w.publishFrom(0, 1) // of an endpoint that is known to be fast many may wait
	w.delivered("a", 1)
	release := w.hook.block("a")
	w.publishFrom(1, n-1)
	w.waitFor("an attempt is made", func() bool { return w.requests("a") == 2 })
	proxy.Set(faultproxy.Fault{Refuse: true})
	proxy.Cut()
	w.waitFor("it knows", func() bool { return gw.Ready() != nil })
	w.start()
	w.waitFor("the other one has the events", func() bool {
		return w.metric("fanjet_stored_deliveries_total")+w.metric("fanjet_direct_deliveries_total") > 0 || w.requests("a") > 1
	})
	release()
	w.waitFor("all are delivered", func() bool { return len(w.firsts("a")) == n })
	proxy.Heal()
	w.waitFor("it is connected", func() bool { return gw.Ready() == nil })
	w.quiet()
	if got := w.requests("a"); got > n+1 { // what was in flight
		t.Errorf("%d requests for %d events", got, n)
	}
}

// While JetStream stores no deliveries an event is held, and what was delivered of it is
// not repeated.
func TestDirectHoldsWhatIsNotStored(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b")
	w.cfg.Endpoints[1].MaxInFlight = 1
	release := w.hook.block("b")
	w.start()
	log, err := w.js.Stream(t.Context(), w.gw.names.DeliveriesStream())
	if err != nil {
		t.Fatal(err)
	}
	room := func(bytes int64) {
		t.Helper()
		cfg := log.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	room(1)
	const n = 10
	w.publishFrom(0, n)
	w.delivered("a", n)
	w.waitFor("the gateway says that it cannot store", func() bool {
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), "publishing to "+w.gw.names.DeliveriesStream())
	})
	w.waitFor("the first one is leased, and the others are held", func() bool {
		c, err := w.js.Consumer(t.Context(), "EVENTS", w.gw.names.MatchConsumer())
		if err == nil && c.CachedInfo().NumRedelivered > 0 {
			t.Errorf("%d came again", c.CachedInfo().NumRedelivered)
		}
		return err == nil && c.CachedInfo().NumAckPending == n-1
	})
	room(-1)
	release()
	w.delivered("b", n)
	w.quiet()
	if a, b := w.requests("a"), w.requests("b"); a != n || b != n {
		t.Errorf("%d and %d requests for %d events", a, b, n)
	}
}

// An ordered endpoint gets its events while another one hangs.
func TestDirectOrderedBesideOneThatHangs(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "line", ordered))
	w.cfg.Subscriptions[0].Endpoints = []string{"a", "line"}
	release := w.hook.block("a")
	w.start()
	const n = 100
	w.publishFrom(0, n)
	w.delivered("line", n)
	w.inOrder("line", n)
	if !w.hangs("a") {
		t.Error("it waited for the other one")
	}
	release()
	w.delivered("a", n)
	w.quiet()
}

// What waits directly for an endpoint that becomes ordered is delivered before its line,
// also if it had to be stored meanwhile.
func TestDirectDrainsFirst(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	two := func(e *endpoint.Settings) { e.MaxInFlight = 2 }
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a", two)}
	release := w.hook.block("a")
	w.start()
	const n, more = 40, 20
	w.publishFrom(0, n)
	w.waitFor("attempts are made", func() bool { return w.requests("a") == 2 })
	w.reload(w.version([]endpoint.Settings{endpointFor(t, w.hook, "a", two, ordered)}, w.cfg.Subscriptions))
	w.publishFrom(n, more)
	w.settled()
	release()
	w.delivered("a", n+more)
	w.quiet()
	w.lineEmpty()
	got := w.firsts("a")
	if len(got) != n+more || !slices.IsSorted(got[n:]) || slices.Min(got[n:]) != n {
		t.Errorf("delivered %v", got)
	}
	if w.requests("a") != n+more {
		t.Errorf("%d requests", w.requests("a"))
	}
}

// Who takes over handles newer events though an attempt of an older one is made still.
func TestDirectTakeoverWhileOneHangs(t *testing.T) {
	t.Parallel()
	w := newDirect(t)
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "b")}
	w.cfg.Endpoints[0].Timeout = 30 * time.Second
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "a", Subjects: []string{"events.a"}, Endpoints: []string{"a"}}, {Name: "b", Subjects: []string{"events.b"}, Endpoints: []string{"b"}},
	}
	release := w.hook.block("a")
	w.start()
	_, stopOther := w.run(5 * time.Second)
	defer stopOther()
	source, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	w.publish("events.a", "{}", nil)
	w.waitFor("an attempt is made", func() bool { return w.requests("a") == 1 })
	if err := source.UnpinConsumer(t.Context(), w.gw.names.MatchConsumer(), topology.MatchGroup); err != nil {
		t.Fatal(err)
	}
	w.publish("events.b", "{}", nil)
	w.delivered("b", 1)
	if !w.hangs("a") || w.requests("a") != 1 {
		t.Error("it waited for the attempt")
	}
	release()
	w.delivered("a", 1)
	w.quiet()
	if n := len(w.hook.all()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// What would soon be too old is stored, and so is the canary.
func TestDirectLeavesToTheLog(t *testing.T) {
	t.Parallel()
	w := newCanaryWorld(t)
	w.cfg.Delivery.Direct = true
	w.cfg.Endpoints[0].Retry.MaxAge = 30 * time.Second
	w.start()
	n := 0
	w.waitFor("one is stored because it expires", func() bool { // and not because the machine is busy
		n++
		w.publish("events.x", "{}", nil)
		w.delivered("a", n)
		return w.metric("fanjet_stored_deliveries_total", "expires") > 0
	})
	w.cameThrough(w.gw)
	if direct := w.metric("fanjet_direct_deliveries_total"); direct != 0 {
		t.Errorf("%v direct", direct)
	}
}

// The disk is full while direct attempts fail: their events are held, nothing of them is
// repeated nor lost, and each goes on where it was when there is room again.
func TestDirectWhileStorageIsFull(t *testing.T) {
	t.Parallel()
	w := newDirect(t, "b")
	w.serve(natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStreamMaxStore = 8 << 20 }})
	w.hook.set(func(r request) int {
		if r.endpoint == "a" && r.attempt == "1" {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	w.start()
	ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
	if err != nil {
		t.Fatal(err)
	}
	release := w.hook.block("a")
	const n = 5
	w.publishMany("events.x", n)
	w.delivered("b", n)
	for size := 256 << 10; size > 0; size /= 8 {
		for err = nil; err == nil; {
			_, err = w.js.Publish(t.Context(), "ballast", make([]byte, size))
		}
		if _, refused := errors.AsType[*jetstream.APIError](err); !refused {
			t.Fatal(err)
		}
	}
	release()
	w.waitFor("the gateway holds what it cannot store", func() bool {
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), "publishing to FANJET_RETRIES")
	})
	if err := ballast.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ready()
	w.delivered("a", n)
	w.quiet()
	if a, b := w.requests("a"), w.requests("b"); a != 2*n || b != n {
		t.Errorf("%d requests to the one that failed once, %d to the other one", a, b)
	}
	if direct := w.metric("fanjet_direct_deliveries_total"); direct != 2*n {
		t.Errorf("%v of %d were direct", direct, 2*n)
	}
}
