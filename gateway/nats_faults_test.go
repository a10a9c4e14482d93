package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/faultproxy"
	"fanjet/internal/natstest"
)

// unready waits until the gateway says that it cannot work, for a reason that
// contains a text.
func (w *world) unready(why string) {
	w.Helper()
	w.waitFor("it is not ready: "+why, func() bool {
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), why)
	})
}

func (w *world) ready() {
	w.Helper()
	w.waitFor("it is ready", func() bool { return w.gw.Ready() == nil })
}

// unharmed checks that an endpoint got n events, each in one request, which was
// its first attempt, and that nothing is left.
func (w *world) unharmed(endpoint string, n int) {
	w.Helper()
	w.exactly(endpoint, n)
	w.quiet()
	w.ready()
	for _, r := range w.hook.all() {
		if r.attempt != "1" {
			w.Errorf("%s was attempted %s times", r.id, r.attempt)
		}
	}
	if got := len(w.hook.all()); got != n {
		w.Errorf("%d requests for %d events", got, n)
	}
	if letters := w.messages(w.gw.names.DeadLettersStream()); letters != 0 {
		w.Errorf("%d dead letters", letters)
	}
	w.checkNoOverlap()
}

// serve replaces the NATS server by another one.
func (w *world) serve(o natstest.Options) {
	w.Helper()
	w.nats = natstest.Start(w.T, o)
	w.Cleanup(func() { w.stop() }) // before the server stops
	w.js = w.nats.JetStream()
	w.cfg.NATS.URL = w.nats.URL()
}

// Whatever happens to its connection, a gateway loses nothing, sends nothing
// twice and burns no attempt; and it is ready exactly when the connection works.
func TestConnectionFaults(t *testing.T) {
	t.Parallel()
	type step func(w *world, p *faultproxy.Proxy)
	goesOn := func(w *world) {
		w.Helper()
		have := len(w.hook.got("a"))
		w.waitFor("deliveries go on", func() bool { return len(w.hook.got("a")) > have+50 })
	}
	silent := func(d faultproxy.Direction) step {
		return func(w *world, p *faultproxy.Proxy) {
			p.Set(faultproxy.Fault{BlackHole: d})
			w.unready("source EVENTS: ")
			p.Heal()
		}
	}
	for name, steps := range map[string][]step{
		"noticed at once": {
			func(w *world, p *faultproxy.Proxy) { // cut, again and again
				for range 5 {
					goesOn(w)
					p.Cut()
				}
			},
			func(w *world, p *faultproxy.Proxy) {
				p.Set(faultproxy.Fault{Refuse: true})
				p.Cut()
				w.unready("not connected")
				p.Heal()
			},
			func(w *world, p *faultproxy.Proxy) {
				p.Set(faultproxy.Fault{Delay: 150 * time.Millisecond})
				goesOn(w)
				w.ready()
				p.Heal()
			},
			func(w *world, p *faultproxy.Proxy) {
				p.Set(faultproxy.Fault{Rate: 100_000})
				goesOn(w)
				p.Heal()
			},
			silent(faultproxy.ToServer),
			silent(faultproxy.ToClient),
		},
		// Only the pings notice.
		"forgotten by a firewall": {func(w *world, p *faultproxy.Proxy) {
			p.Strand()
			w.unready("source EVENTS: ")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var proxy *faultproxy.Proxy
			w.gw, proxy = w.runBehind()
			ctx, stop := context.WithCancel(t.Context())
			var accepted int
			var publishing sync.WaitGroup
			publishing.Go(func() {
				tick := time.NewTicker(5 * time.Millisecond)
				defer tick.Stop()
				for ctx.Err() == nil {
					if _, err := w.js.Publish(t.Context(), "events.x", fmt.Appendf(nil, `{"n":%d}`, accepted)); err != nil {
						t.Error(err)
						return
					}
					accepted++
					<-tick.C
				}
			})
			for _, step := range steps {
				goesOn(w)
				step(w, proxy)
				w.ready()
			}
			goesOn(w)
			stop()
			publishing.Wait()
			w.unharmed("a", accepted)
		})
	}
}

// Streams that somebody deletes make the gateway unready, with their names. They
// are never made again in silence: what was in them is gone, and somebody must
// know. What docs/operations.md says to do then works.
func TestStreamsDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publishMany("events.x", 20)
	w.delivered("a", 20)
	w.quiet()
	names := w.gw.names
	streams := []string{"EVENTS", names.DeliveriesStream(), names.RetriesStream(), names.LanesStream(), names.DeadLettersStream(), "KV_" + names.StateBucket()}
	for _, stream := range streams {
		if err := w.js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	for _, stream := range streams {
		w.unready("stream " + stream)
	}
	began := time.Now()
	w.waitFor("it was looked again", func() bool { return time.Since(began) > lookEvery })
	for _, stream := range streams {
		if _, err := w.js.Stream(t.Context(), stream); err == nil {
			t.Errorf("%s was made again", stream)
		}
	}
	if w.gw.Ready() == nil {
		t.Fatal("it is ready without its streams")
	}
	// Another replica starts, or this one is restarted: streams that are missing
	// are made then. Those that run go on.
	_, stop := w.run(5 * time.Second)
	defer stop()
	w.ready()
	w.publishMany("events.y", 20)
	w.exactly("a", 40)
}

// Consumers that somebody deletes come back by themselves, and what they had
// handed out or settled is not delivered twice.
func TestConsumersDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	names := w.gw.names
	const rounds, perRound = 4, 300
	for round := range rounds {
		w.publishMany("events.x", perRound)
		w.delivered("a", round*perRound+50)
		for stream, consumer := range map[string]string{
			"EVENTS": names.MatchConsumer(), names.DeliveriesStream(): names.DeliverConsumer(), names.RetriesStream(): names.DueConsumer(),
		} {
			w.waitFor("there is a consumer", func() bool { return w.js.DeleteConsumer(t.Context(), stream, consumer) == nil })
		}
	}
	w.unharmed("a", rounds*perRound)
}

// The server's storage is full (max_file_store). Producers get errors; what was
// accepted is held, and the gateway says so; when there is room all goes on.
func TestStorageFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStreamMaxStore = 8 << 20 }})
	w.endpoints(endpointFor(t, w.hook, "a", patient))
	w.start()
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	release := w.hook.block("a")
	ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
	if err != nil {
		t.Fatal(err)
	}
	fill := func(subject string, size int) (accepted int) {
		t.Helper()
		for {
			_, err := w.js.Publish(t.Context(), subject, make([]byte, size))
			if _, refused := errors.AsType[*jetstream.APIError](err); refused {
				return accepted
			}
			if err != nil {
				t.Fatal(err)
			}
			accepted++
		}
	}
	for range 24 {
		if _, err := w.js.Publish(t.Context(), "ballast", make([]byte, 256<<10)); err != nil {
			t.Fatal(err)
		}
	}
	// The endpoint hangs, so that the deliveries stay, and take as much as the
	// events.
	var events int
	w.waitFor("the gateway holds what it cannot store", func() bool {
		events += fill("events.x", 4<<10)
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), "publishing to FANJET_DELIVERIES")
	})
	for range 3 {
		if _, err := w.js.Publish(t.Context(), "events.x", make([]byte, 16<<10)); err == nil {
			t.Error("a producer's event was accepted without room")
		}
	}
	if err := ballast.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ready()
	release()
	w.unharmed("a", 1+events)
	w.publish("events.x", "{}", nil)
	w.delivered("a", 2+events)
}

// Permissions are taken away while the gateway works. The server says so beside
// all requests; the gateway is unready with that reason, and goes on when the
// permissions are restored.
func TestPermissionsRevoked(t *testing.T) {
	t.Parallel()
	for name, deny := range map[string]server.Permissions{
		"publish and acknowledge": {Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"fanjet.deliver.>", "$JS.ACK.>"}}},
		"hear answers":            {Subscribe: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"_INBOX.>"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var revoked atomic.Bool
			w := newWorld(t)
			w.serve(natstest.Options{Listen: true, Adjust: func(o *server.Options) {
				gateway := &server.User{Username: "gateway", Password: "pw"}
				if revoked.Load() {
					gateway.Permissions = &deny
				}
				o.Users = []*server.User{gateway, {Username: "others", Password: "pw"}}
				o.NoAuthUser = "others"
			}})
			w.cfg.NATS.URL = strings.Replace(w.nats.URL(), "nats://", "nats://gateway:pw@", 1)
			w.start()
			w.publishMany("events.x", 100)
			w.delivered("a", 100)
			w.ready()
			revoked.Store(true)
			w.nats.Reload()
			w.publishMany("events.y", 100)
			w.unready("nats permissions: ")
			revoked.Store(false)
			w.nats.Reload()
			w.ready()
			w.unharmed("a", 200)
		})
	}
}
