package gateway

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
)

// clockTolerance is by how much the clock of this machine may differ from the
// server's before somebody should hear of it: receivers refuse webhooks whose
// webhook-timestamp, which is this machine's, is minutes off.
const clockTolerance = 30 * time.Second

// clock tells the time of the NATS server: schedules fire by it, and the times
// of events are its.
//
// It goes on from the latest answer of the server by the monotonic clock, so
// that somebody who sets the clock of this machine moves no schedule.
//
// Somebody may set the clock of the server, too. A step shows in an answer that
// differs from what the monotonic clock leads to expect.
type clock struct {
	latest atomic.Pointer[reading]
	step   atomic.Pointer[step] // the latest; nil: none was seen
	local  func() time.Time     // nil: time.Now
	gauge  prometheus.Gauge     // seconds that the server is ahead
	log    *zap.Logger
	off    atomic.Bool // the clocks differ by more than the tolerance

	// ours says that the server is in this process. There is no difference then,
	// nor a moment in which a step of the clock is known to one of them only.
	ours bool
	// shift makes another time of what the server says; tests set it; nil: none.
	shift func(time.Time) time.Time
}

// stepTolerance is what the clock of a server may be set by, or another server of
// a cluster be off, without anybody having to care.
const stepTolerance = 5 * time.Second

// step says that the server's clock was set.
type step struct {
	at time.Time     // when that was noticed, by the clock as it is since
	by time.Duration // below 0: back
}

func newClockGauge(reg prometheus.Registerer) prometheus.Gauge {
	return promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "fanjet_clock_offset_seconds", Help: "How much the clock of the NATS server is ahead of this machine's.",
	})
}

// reading says what time it was for the server at a local time.
type reading struct{ server, local time.Time }

// now returns the server's time.
func (c *clock) now() time.Time {
	r := c.latest.Load()
	if r == nil {
		return c.here()
	}
	if c.ours && c.shift == nil {
		return c.here().Round(0)
	}
	return r.server.Add(c.here().Sub(r.local))
}

// here returns the time of this machine, for observe.
func (c *clock) here() time.Time {
	if c.local != nil {
		return c.local()
	}
	return time.Now()
}

// observe learns from a timestamp that the server put into an answer to a
// request that was made between asked and answered, by [clock.here]. Within
// what the round trip leaves open, the clocks count as equal. It returns what the
// server's time was.
func (c *clock) observe(server, asked, answered time.Time) time.Time {
	if server.IsZero() {
		return server
	}
	if c.shift != nil {
		server = c.shift(server)
	}
	said := server
	half := answered.Sub(asked) / 2
	local := asked.Add(half)
	c.compare(server, local, half)
	offset := server.Sub(local.Round(0)) // by the wall clock of both
	if offset.Abs() <= half+time.Millisecond {
		server, offset = local.Round(0), 0
	}
	c.latest.Store(&reading{server: server, local: local})
	c.tell(offset)
	return said
}

// compare looks whether the server's clock went on as ours does, which nobody can
// set, within an error.
func (c *clock) compare(server, local time.Time, within time.Duration) {
	r := c.latest.Load()
	if r == nil {
		return
	}
	by := server.Sub(r.server.Add(local.Sub(r.local)))
	if by.Abs() <= stepTolerance+within {
		return
	}
	c.step.Store(&step{at: server, by: by})
	if c.log == nil {
		return
	}
	if by < 0 {
		c.log.Warn("the clock of the NATS server was set back; retries that were planned before are planned anew", zap.Duration("by", -by))
		return
	}
	c.log.Warn("the clock of the NATS server went ahead, or its machine stood still; retries can come earlier or later than planned", zap.Duration("by", by))
}

// tell reports by how much the server is ahead of this machine.
func (c *clock) tell(offset time.Duration) {
	if c.gauge != nil {
		c.gauge.Set(offset.Seconds())
	}
	off := offset.Abs() > clockTolerance
	if c.off.Swap(off) == off || c.log == nil {
		return
	}
	if off {
		c.log.Error("the clocks of this machine and of the NATS server differ; receivers may refuse what this one signs", zap.Duration("server_ahead", offset))
		return
	}
	c.log.Info("the clocks of this machine and of the NATS server agree again")
}
