package servertime

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestClockFollowsTheServer(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	var ahead time.Duration // of this machine
	c := Clock{
		Local: func() time.Time { return time.Unix(1000, 0).Add(ahead) },
		Gauge: NewGauge(prometheus.NewRegistry()), Log: zap.New(core),
	}
	observe := func(server time.Time, trip time.Duration) {
		asked := c.Here()
		c.Observe(server, asked, asked.Add(trip))
	}
	expect := func(want time.Time, offset float64, messages int) {
		t.Helper()
		if got := c.Now(); got.Sub(want).Abs() > 50*time.Millisecond {
			t.Errorf("it is %v, not %v", got, want)
		}
		if got := testutil.ToFloat64(c.Gauge); got != offset {
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
	c := Clock{Log: zap.New(core)}
	server := time.Unix(1000, 0)
	began := c.Here()
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
		c.Observe(server.Add(look.server), asked, asked.Add(look.trip))
		var by time.Duration
		if s := c.Step(); s != nil {
			by = s.By
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
	var off time.Duration
	wall := func() time.Time { return time.Now().Round(0).Add(off) } // without the monotonic reading
	c := Clock{Ours: true, Local: wall}
	c.Observe(wall(), wall(), wall())
	off = -time.Hour
	if got := c.Now().Sub(wall()).Abs(); got > time.Minute {
		t.Errorf("it is %v off", got)
	}
}

// The time goes on by the monotonic clock: setting the clock of the machine
// between two answers of the server moves nothing.
func TestClockIsMonotonic(t *testing.T) {
	t.Parallel()
	var c Clock
	c.Observe(time.Unix(1000, 0), c.Here(), c.Here())
	if local := c.latest.Load().local.String(); !strings.Contains(local, " m=") {
		t.Errorf("it goes by the wall clock: %s", local)
	}
}
