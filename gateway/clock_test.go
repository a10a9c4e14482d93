package gateway

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestClockFollowsTheServer(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	var ahead time.Duration // of this machine
	c := clock{
		local: func() time.Time { return time.Unix(1000, 0).Add(ahead) },
		gauge: newClockGauge(prometheus.NewRegistry()), log: zap.New(core),
	}
	observe := func(server time.Time, trip time.Duration) {
		asked := c.here()
		c.observe(server, asked, asked.Add(trip))
	}
	expect := func(want time.Time, offset float64, messages int) {
		t.Helper()
		if got := c.now(); got.Sub(want).Abs() > 50*time.Millisecond {
			t.Errorf("it is %v, not %v", got, want)
		}
		if got := testutil.ToFloat64(c.gauge); got != offset {
			t.Errorf("the server is %v s ahead, not %v", got, offset)
		}
		said := logs.Filter(func(e observer.LoggedEntry) bool {
			return strings.HasPrefix(e.Message, "the clocks of this machine and of the NATS server")
		})
		if got := said.Len(); got != messages {
			t.Errorf("%d messages, not %d: %v", got, messages, said.All())
		}
	}
	server := time.Unix(1000, 0)
	expect(server, 0, 0) // not asked yet
	observe(server.Add(4*time.Millisecond), 10*time.Millisecond)
	expect(server.Add(-5*time.Millisecond), 0, 0) // within the round trip they are equal
	observe(time.Time{}, 0)                       // an old server says nothing
	expect(server.Add(-5*time.Millisecond), 0, 0)
	observe(server.Add(7*time.Minute), 0)
	expect(server.Add(7*time.Minute), 420, 1)
	observe(server.Add(-7*time.Minute), 0)
	expect(server.Add(-7*time.Minute), -420, 1) // said already
	ahead = time.Hour
	observe(server, 0)
	expect(server, -3600, 1)
	ahead = 0
	observe(server, 0)
	expect(server, 0, 2)
}

// A step of the server's clock shows against the monotonic clock, which nobody
// can set; what a slow answer leaves open is none.
func TestClockNoticesSteps(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	c := clock{log: zap.New(core)}
	server := time.Unix(1000, 0)
	began := c.here()
	for _, look := range []struct {
		after, server, trip time.Duration // since the beginning
		by                  time.Duration // of the latest step
	}{
		{after: 0, server: 0},
		{after: time.Minute, server: time.Minute + 2*time.Second},
		{after: 2 * time.Minute, server: 2*time.Minute + 15*time.Second, trip: 30 * time.Second},
		{after: 3 * time.Minute, server: 3*time.Minute - time.Hour, by: -time.Hour},
		{after: 4 * time.Minute, server: 4*time.Minute - time.Hour, by: -time.Hour},
		{after: 5 * time.Minute, server: 5 * time.Minute, by: time.Hour},
	} {
		asked := began.Add(look.after)
		c.observe(server.Add(look.server), asked, asked.Add(look.trip))
		var by time.Duration
		if s := c.step.Load(); s != nil {
			by = s.by
		}
		if (by - look.by).Abs() > time.Minute {
			t.Errorf("after %v the latest step is %v, not %v", look.after, by, look.by)
		}
	}
	if n := logs.FilterMessageSnippet("the clock of the NATS server").Len(); n != 2 {
		t.Errorf("%d messages: %v", n, logs.All())
	}
}

// The server in this process has our clock, also in the moment when it is set.
func TestClockOfOurOwnServer(t *testing.T) {
	t.Parallel()
	var wall wallClock
	c := clock{ours: true, local: wall.now}
	c.observe(wall.now(), wall.now(), wall.now())
	wall.set(-time.Hour)
	if got := c.now().Sub(wall.now()).Abs(); got > time.Minute {
		t.Errorf("it is %v off", got)
	}
}

// The time goes on by the monotonic clock: setting the clock of the machine
// between two answers of the server moves nothing.
func TestClockIsMonotonic(t *testing.T) {
	t.Parallel()
	var c clock
	c.observe(time.Unix(1000, 0), c.here(), c.here())
	if local := c.latest.Load().local.String(); !strings.Contains(local, " m=") {
		t.Errorf("it goes by the wall clock: %s", local)
	}
}

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
			gw.clock.local = jump.now
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
				return time.Until(gw.clock.now()).Abs() < time.Second
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
