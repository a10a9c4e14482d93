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
type clock struct {
	latest atomic.Pointer[reading]
	local  func() time.Time // nil: time.Now
	gauge  prometheus.Gauge // seconds that the server is ahead
	log    *zap.Logger
	off    atomic.Bool // the clocks differ by more than the tolerance
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
// what the round trip leaves open, the clocks count as equal.
func (c *clock) observe(server, asked, answered time.Time) {
	if server.IsZero() {
		return
	}
	half := answered.Sub(asked) / 2
	local := asked.Add(half)
	offset := server.Sub(local.Round(0)) // by the wall clock of both
	if offset.Abs() <= half+time.Millisecond {
		server, offset = local.Round(0), 0
	}
	c.latest.Store(&reading{server: server, local: local})
	c.tell(offset)
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
