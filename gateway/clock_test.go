package gateway

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// A gateway whose clock is minutes off sets schedules right, from the first one
// on, and also when its clock jumps while it runs.
func TestSchedulesOfAGatewayWithAWrongClock(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cfg.Endpoints[0].Retry.Schedule = []time.Duration{time.Hour}
			w.cfg.Endpoints[0].Retry.Jitter = 0
			w.hook.set(func(request) int { return 500 })
			var jump wallClock
			jump.set(off)
			gw, err := New(Options{Config: w.cfg, Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			gw.clock.Local = jump.now
			w.gw, w.stop = gw, w.launch(gw)
			check := func(subject string, n int) {
				t.Helper()
				began := time.Now()
				w.publish(subject, "{}", nil)
				retries := w.gw.names.RetriesStream()
				w.waitFor("the retry is scheduled", func() bool { return w.messages(retries) == uint64(n) })
				stream, err := w.js.Stream(t.Context(), retries)
				if err != nil {
					t.Fatal(err)
				}
				m, err := stream.GetMsg(t.Context(), stream.CachedInfo().State.LastSeq)
				if err != nil {
					t.Fatal(err)
				}
				at, err := time.Parse("@at "+time.RFC3339Nano, m.Header.Get("Nats-Schedule"))
				if err != nil {
					t.Fatal(err)
				}
				if wait := at.Sub(began); wait < time.Hour-time.Second || wait > time.Hour+time.Minute {
					t.Errorf("%s: scheduled in %v, not in an hour", subject, wait)
				}
			}
			check("events.first", 1)
			jump.set(-off)
			w.waitFor("it has asked for the time again", func() bool {
				return time.Until(gw.clock.Now()).Abs() < time.Second
			})
			check("events.jumped", 2)
			if r := w.hook.all(); len(r) != 2 || r[0].attempt != "1" || r[1].attempt != "1" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Schedules that come due while NATS is away fire once it is back: each once.
func TestSchedulesAcrossARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = []time.Duration{300 * time.Millisecond}
	w.cfg.Endpoints[0].Retry.Jitter = 0
	w.hook.set(func(r request) int {
		if r.attempt == "1" {
			return 500
		}
		return 200
	})
	w.start()
	for i := range 5 {
		w.publish("events.x", strings.Repeat("x", i), nats.Header{nats.MsgIdHdr: {strings.Repeat("i", i+1)}})
	}
	w.waitFor("all were attempted once", func() bool { return len(w.hook.all()) >= 5 })
	w.stop()
	w.nats.Stop()
	began := time.Now()
	w.waitFor("they are due", func() bool { return time.Since(began) > 400*time.Millisecond })
	w.nats.Resume()
	w.start()
	w.delivered("a", 5)
	w.quiet()
	if n := len(w.hook.all()); n != 10 {
		t.Errorf("%d attempts, not 10", n)
	}
	w.checkNoOverlap()
}

// wallClock is a clock that is off.
type wallClock struct{ off atomic.Int64 }

func (c *wallClock) set(off time.Duration) { c.off.Store(int64(off)) }
func (c *wallClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.off.Load())) // without the monotonic reading
}
