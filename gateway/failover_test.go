package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/match"
)

// link is the only way of a gateway to NATS, and can be cut.
type link struct {
	t        *testing.T
	listener net.Listener
	target   string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	ended sync.WaitGroup
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, listener: listener, target: strings.TrimPrefix(target, "nats://")}
	l.ended.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(true)
		l.ended.Wait()
	})
	return l
}

func (l *link) url() string { return "nats://" + l.listener.Addr().String() }

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		server, err := net.Dial("tcp", l.target)
		if l.cut || err != nil {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			l.mu.Unlock()
			continue
		}
		l.conns = append(l.conns, client, server)
		l.mu.Unlock()
		pipe := func(to, from net.Conn) {
			_, _ = io.Copy(to, from) // until one of them is closed
			_ = to.Close()
		}
		l.ended.Go(func() { pipe(server, client) })
		l.ended.Go(func() { pipe(client, server) })
	}
}

// set cuts the link, in the middle of whatever goes over it, or mends it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if !cut {
		return
	}
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// runBehind runs one more gateway, behind a link.
func (w *world) runBehind() (*Gateway, *link) {
	w.Helper()
	l := newLink(w.T, w.nats.URL())
	cfg, original := *w.cfg, w.cfg
	cfg.NATS.URL = l.url()
	w.cfg = &cfg
	defer func() { w.cfg = original }()
	gw, stop := w.run(5 * time.Second)
	w.Cleanup(func() {
		l.set(false)
		w.waitFor("the gateway is connected", func() bool { return gw.Ready() == nil })
		stop()
	})
	return gw, l
}

// publishFrom publishes numbered events, and waits until they are stored.
func (w *world) publishFrom(first, n int) {
	w.Helper()
	for i := range n {
		if _, err := w.js.PublishAsync("events.x", fmt.Appendf(nil, `{"n":%d}`, first+i), jetstream.WithStallWait(30*time.Second)); err != nil {
			w.Fatal(err)
		}
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
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
	var links [2]*link
	for i := range links {
		w.gw, links[i] = w.runBehind()
	}
	const rounds, perRound = 4, 500
	for round := range rounds {
		l := links[round%2]
		w.publishFrom(round*perRound, perRound/2)
		have := len(w.firsts("a"))
		w.waitFor("the line moves", func() bool { return len(w.firsts("a")) > min(have+20, round*perRound) })
		l.set(true)
		w.publishFrom(round*perRound+perRound/2, perRound/2)
		have = len(w.firsts("a"))
		w.waitFor("the other one goes on", func() bool {
			return len(w.firsts("a")) > min(have+50, (round+1)*perRound-1)
		})
		l.set(false)
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
		if err := source.UnpinConsumer(t.Context(), w.gw.names.MatchConsumer(), matchGroup); err != nil {
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
