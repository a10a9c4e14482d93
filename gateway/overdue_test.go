package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"
)

// failFirst answers 500 to first attempts, and 200 to all others.
func failFirst(r request) int {
	if r.attempt == "1" {
		return 500
	}
	return 200
}

// retryIn lets an endpoint try again after a time.
func retryIn(wait time.Duration) func(*endpoint.Settings) {
	return func(e *endpoint.Settings) {
		e.Retry.Schedule = []time.Duration{wait, time.Hour}
		e.Retry.Jitter = 0
	}
}

// startHurried runs a gateway that soon takes a retry for overdue.
func (w *world) startHurried(change ...func(*Gateway)) *Gateway {
	w.Helper()
	gw, err := New(Options{
		Config: w.cfg, Version: "test", Registry: prometheus.NewRegistry(), Grace: 5 * time.Second,
		Log: zaptest.NewLogger(w.T, zaptest.Level(zap.WarnLevel)),
	})
	if err != nil {
		w.Fatal(err)
	}
	gw.lateAfter = time.Second
	for _, f := range change {
		f(gw)
	}
	stop := w.launch(gw)
	before := w.stop
	w.gw, w.stop = gw, func() { stop(); before() }
	return gw
}

// waiting is how many schedules are stored.
func (w *world) waiting() (n uint64) {
	w.Helper()
	names := w.gw.names
	s, err := w.js.Stream(w.Context(), names.RetriesStream())
	if err != nil {
		w.Fatal(err)
	}
	info, err := s.Info(w.Context(), jetstream.WithSubjectFilter(names.RetrySubject("*", "*")))
	if err != nil {
		w.Fatal(err)
	}
	for _, count := range info.State.Subjects {
		n += count
	}
	return n
}

// A retry whose schedule fires while the storage is full is never fired again by
// the server, also when there is room again. It is noticed, and set anew: each is
// attempted once more, whoever sets it anew.
func TestRetryThatFiredWhileFull(t *testing.T) {
	t.Parallel()
	for name, gateways := range map[string]int{"one gateway": 1, "three gateways": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 40
			w := newWorld(t)
			w.serve(natstest.Options{Listen: true, Adjust: func(o *server.Options) { o.JetStreamMaxStore = 8 << 20 }})
			w.endpoints(endpointFor(t, w.hook, "a", retryIn(4*time.Second)))
			w.hook.set(failFirst)
			for range gateways {
				w.startHurried()
			}
			w.publishMany("events.x", events)
			w.waitFor("all retries are scheduled", func() bool { return w.waiting() == events })
			scheduled := time.Now()

			ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
			if err != nil {
				t.Fatal(err)
			}
			for refused := false; !refused; {
				_, err := w.js.Publish(t.Context(), "ballast", make([]byte, 512<<10))
				_, refused = errors.AsType[*jetstream.APIError](err)
				if err != nil && !refused {
					t.Fatal(err)
				}
			}
			w.waitFor("their time is over", func() bool { return time.Since(scheduled) > 5*time.Second })
			w.waitFor("it is noticed", func() bool { return w.gw.overdue.Longest() > 0 })
			if n := w.waiting(); n != events {
				t.Fatalf("%d retries wait, not %d: the storage was not full", n, events)
			}
			if err := ballast.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.delivered("a", events)
			w.quiet()
			for _, r := range w.hook.got("a") {
				if r.attempt != "2" {
					t.Errorf("%s was delivered with attempt %s", r.id, r.attempt)
				}
			}
			if n := len(w.hook.all()); n != 2*events {
				t.Errorf("%d requests, not %d", n, 2*events)
			}
			w.waitFor("nothing is overdue", func() bool { return w.gw.overdue.Longest() == 0 })
			w.checkNoOverlap()
		})
	}
}

// The clock of the server was an hour ahead, and is set back: what was planned
// meanwhile comes after its wait, not an hour later.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	const events = 20
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", retryIn(30*time.Minute)))
	w.hook.set(failFirst)
	// The real clock is the one that is ahead; what it is taken for is set back.
	// A retry that is planned anew is due by the real one then.
	var wrong wallClock
	gw := w.startHurried(func(gw *Gateway) {
		gw.clock.Shift = func(t time.Time) time.Time { return t.Add(time.Duration(wrong.off.Load())) }
	})
	w.publishMany("events.x", events)
	w.waitFor("all retries are scheduled", func() bool { return w.waiting() == events })
	wrong.set(-time.Hour)
	w.waitFor("it is noticed", func() bool { return gw.clock.Step() != nil })
	w.delivered("a", events)
	w.quiet()
	if n := len(w.hook.all()); n != 2*events {
		t.Errorf("%d requests, not %d", n, 2*events)
	}
	if n := w.metric("fanjet_retries_set_anew_total"); n != events {
		t.Errorf("%v were set anew, not %d", n, events)
	}
}

// The line of an ordered endpoint goes on after its wait, also when the clock of
// the server is set back meanwhile: in the gateway that holds the first delivery,
// and in one that takes over.
func TestClockSetBackUnderALine(t *testing.T) {
	t.Parallel()
	for name, takeover := range map[string]bool{"the same gateway": false, "another gateway": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events = 3
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "a", retryIn(8*time.Second), func(e *endpoint.Settings) { e.Ordered = true }))
			w.hook.set(func(r request) int {
				if r.body == `{"n":0}` {
					return failFirst(r)
				}
				return 200
			})
			var wrong wallClock
			shift := func(gw *Gateway) {
				gw.clock.Shift = func(t time.Time) time.Time { return t.Add(time.Duration(wrong.off.Load())) }
			}
			w.startHurried(shift)
			w.publishMany("events.x", events)
			w.waitFor("the first one was attempted", func() bool { return len(w.hook.all()) == 1 })
			w.waitFor("that is stored", func() bool {
				kv, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
				if err != nil {
					return false
				}
				_, err = kv.Get(t.Context(), "head.a")
				return err == nil
			})
			if takeover {
				w.stop()
			}
			wrong.set(-time.Hour)
			if takeover {
				w.stop = func() {}
				w.startHurried(shift)
			}
			got := w.delivered("a", events)
			for i, r := range got {
				if want := fmt.Sprintf(`{"n":%d}`, i); r.body != want {
					t.Errorf("delivery %d is %s, not %s", i, r.body, want)
				}
			}
			if n := len(w.hook.all()); n != events+1 {
				t.Errorf("%d requests, not %d", n, events+1)
			}
		})
	}
}
