package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/faultproxy"
)

// runBehind runs one more gateway, whose only way to NATS is a proxy.
func (w *world) runBehind() (*Gateway, *faultproxy.Proxy) {
	w.Helper()
	proxy, err := faultproxy.Start(strings.TrimPrefix(w.nats.URL(), "nats://"))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(proxy.Close)
	cfg, original := *w.cfg, w.cfg
	cfg.NATS.URL = "nats://" + proxy.Addr()
	w.cfg = &cfg
	defer func() { w.cfg = original }()
	gw, stop := w.run(5 * time.Second)
	w.Cleanup(func() {
		proxy.Heal()
		w.waitFor("the gateway is connected", func() bool { return gw.Ready() == nil })
		stop()
	})
	return gw, proxy
}

// publishFrom publishes numbered events, and waits until they are stored.
func (w *world) publishFrom(first, n int) {
	w.Helper()
	for i := range n {
		if _, err := w.js.PublishAsync("events.x", fmt.Appendf(nil, `{"n":%d}`, first+i), jetstream.WithStallWait(2*time.Minute)); err != nil {
			w.Fatal(err)
		}
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		w.Fatal("publishing takes too long")
	}
}

// Of two gateways now the one, now the other is cut off in the middle of its
// work, and comes back to what it held: an ordered endpoint accepts every event
// for the first time in the order in which they were published.
func TestOrderSurvivesFailover(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t)
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b"))
	w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"a", "b"}}}
	var links [2]*faultproxy.Proxy
	for i := range links {
		w.gw, links[i] = w.runBehind()
	}
	const rounds, perRound = 4, 500
	for round := range rounds {
		l := links[round%2]
		w.publishFrom(round*perRound, perRound/2)
		have := len(w.firsts("a"))
		w.waitFor("the line moves", func() bool { return len(w.firsts("a")) > min(have+20, round*perRound) })
		l.Set(faultproxy.Fault{Refuse: true})
		l.Cut()
		w.publishFrom(round*perRound+perRound/2, perRound/2)
		have = len(w.firsts("a"))
		w.waitFor("the other one goes on", func() bool {
			return len(w.firsts("a")) > min(have+50, (round+1)*perRound-1)
		})
		l.Heal()
	}
	w.delivered("b", rounds*perRound)
	w.waitFor("all have arrived", func() bool { return len(w.firsts("a")) == rounds*perRound && len(w.firsts("b")) == rounds*perRound })
	w.inOrder("a", rounds*perRound)
	w.lineEmpty()
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	t.Logf("%d of %d deliveries came twice", len(w.hook.got("a"))-rounds*perRound, rounds*perRound)
}

// A connection that breaks takes events with it that the server counts as sent.
// They come again, after what was published meanwhile, and are delivered before it.
func TestOrderSurvivesLostEvents(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t)
	var link *faultproxy.Proxy
	w.gw, link = w.runBehind()
	source, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	delivered := func() uint64 {
		consumer, err := source.Consumer(t.Context(), w.gw.names.MatchConsumer())
		if err != nil {
			return 0
		}
		return consumer.CachedInfo().Delivered.Stream
	}
	const rounds, before, lost, after = 4, 20, 10, 30
	n := 0
	publish := func(events int) { w.publishFrom(n, events); n += events }
	for range rounds {
		publish(before)
		w.waitFor("the line is empty", func() bool { return len(w.firsts("a")) == n })
		link.Set(faultproxy.Fault{BlackHole: faultproxy.ToClient})
		have := delivered()
		publish(lost)
		w.waitFor("events are sent, and get lost", func() bool { return delivered() > have })
		link.Cut()
		link.Heal()
		publish(after)
		w.waitFor("the line goes on", func() bool { return len(w.firsts("a")) == n })
	}
	w.inOrder("a", n)
	w.lineEmpty()
}

// While one matcher cannot store what it holds, another one takes over again and
// again. As soon as there is room, all is stored in order.
func TestOrderSurvivesTakeoverFromTheLiving(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t)
	w.start()
	_, stopOther := w.run(5 * time.Second)
	defer stopOther()
	lanes, err := w.js.Stream(t.Context(), w.gw.names.LanesStream())
	if err != nil {
		t.Fatal(err)
	}
	room := func(bytes int64) {
		t.Helper()
		cfg := lanes.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	source, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	pending := func() int {
		consumer, err := source.Consumer(t.Context(), w.gw.names.MatchConsumer())
		if err != nil {
			return -1
		}
		return consumer.CachedInfo().NumAckPending
	}
	const rounds, perRound = 8, 20
	room(1)
	for round := range rounds {
		w.publishFrom(round*perRound, perRound)
		w.waitFor("a matcher holds them", func() bool { return pending() == (round+1)*perRound })
		if err := source.UnpinConsumer(t.Context(), w.gw.names.MatchConsumer(), topology.MatchGroup); err != nil {
			t.Fatal(err)
		}
	}
	room(-1)
	w.delivered("a", rounds*perRound)
	w.inOrder("a", rounds*perRound)
	w.lineEmpty()
	if n := len(w.hook.all()); n != rounds*perRound {
		t.Errorf("%d requests", n)
	}
}
