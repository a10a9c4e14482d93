// Package servertime tells the time of the NATS server, and whether somebody set its
// clock.
//
// Schedules fire by that clock, and the times of events are its. What it lives with:
//   - The server tells its time only in answers, so it is known as well as a round trip
//     is short.
//   - The clock of this machine may be set meanwhile: between two answers the time goes
//     on by the monotonic clock, which nobody can set.
//   - A server in this process has our clock. There the wall clock is taken as it is, so
//     that no schedule is made by one clock and stored by another in the moment of a step.
package servertime

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
)

// offTolerance is by how much the clock of this machine may differ from the
// server's before somebody should hear of it: receivers refuse webhooks whose
// webhook-timestamp, which is this machine's, is minutes off.
const offTolerance = 30 * time.Second

// StepTolerance is by how much the clock of a server may be set, or that of another
// server of a cluster be off, without anybody having to care.
const StepTolerance = 5 * time.Second

// Clock tells the time of the NATS server.
//
// It goes on from the latest answer of the server by the monotonic clock, so
// that somebody who sets the clock of this machine moves no schedule.
//
// Somebody may set the clock of the server, too. That shows in an answer that
// differs from what the monotonic clock leads to expect.
//
// The zero value is ready, and goes by the clock of this machine until the server
// has answered. Its fields are set before the first use; after that its methods may
// be called concurrently.
type Clock struct {
	Gauge prometheus.Gauge // gets the seconds that the server is ahead; nil: nobody asks
	Log   *zap.Logger      // nil: none
	// Ours says that the server is in this process. There is no difference then,
	// nor a moment in which a step of the clock is known to one of them only.
	Ours bool
	// Local tells the time of this machine; nil: [time.Now]. Tests set it.
	Local func() time.Time
	// Shift makes another time of what the server says; nil: none. Tests set it.
	Shift func(time.Time) time.Time

	latest atomic.Pointer[reading]
	step   atomic.Pointer[Step] // the latest; nil: none was seen
	off    atomic.Bool          // the clocks differ by more than the tolerance
}

// Step says that the server's clock was set.
type Step struct {
	At time.Time     // when that was noticed, by the clock as it is since
	By time.Duration // below 0: back
}

// NewGauge returns the metric for [Clock.Gauge].
func NewGauge(reg prometheus.Registerer) prometheus.Gauge {
	return promauto.With(reg).NewGauge(prometheus.GaugeOpts{
		Name: "fanjet_clock_offset_seconds", Help: "How much the clock of the NATS server is ahead of this machine's.",
	})
}

// reading says what time it was for the server at a local time.
type reading struct{ server, local time.Time }

// Now returns the server's time.
func (c *Clock) Now() time.Time {
	r := c.latest.Load()
	if r == nil {
		return c.Here()
	}
	if c.Ours && c.Shift == nil {
		return c.Here().Round(0)
	}
	return r.server.Add(c.Here().Sub(r.local))
}

// Here returns the time of this machine, for [Clock.Observe].
func (c *Clock) Here() time.Time {
	if c.Local != nil {
		return c.Local()
	}
	return time.Now()
}

// Observe learns from a timestamp that the server put into an answer to a
// request that was made between asked and answered, by [Clock.Here]. Within
// what the round trip leaves open, the clocks count as equal. It returns what the
// server's time was.
func (c *Clock) Observe(server, asked, answered time.Time) time.Time {
	if server.IsZero() {
		return server
	}
	if c.Shift != nil {
		server = c.Shift(server)
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

// Step returns the latest step that was seen, always the same pointer for one; nil:
// none was.
func (c *Clock) Step() *Step { return c.step.Load() }

// compare looks whether the server's clock went on as ours does, which nobody can
// set, within an error.
func (c *Clock) compare(server, local time.Time, within time.Duration) {
	r := c.latest.Load()
	if r == nil {
		return
	}
	by := server.Sub(r.server.Add(local.Sub(r.local)))
	if by.Abs() <= StepTolerance+within {
		return
	}
	c.step.Store(&Step{At: server, By: by})
	if c.Log == nil {
		return
	}
	if by < 0 {
		c.Log.Warn("the clock of the NATS server was set back; retries that were planned before are planned anew", zap.Duration("by", -by))
		return
	}
	c.Log.Warn("the clock of the NATS server went ahead, or its machine stood still; retries can come earlier or later than planned", zap.Duration("by", by))
}

// tell reports by how much the server is ahead of this machine.
func (c *Clock) tell(offset time.Duration) {
	if c.Gauge != nil {
		c.Gauge.Set(offset.Seconds())
	}
	off := offset.Abs() > offTolerance
	if c.off.Swap(off) == off || c.Log == nil {
		return
	}
	if off {
		c.Log.Error("the clocks of this machine and of the NATS server differ; receivers may refuse what this one signs", zap.Duration("server_ahead", offset))
		return
	}
	c.Log.Info("the clocks of this machine and of the NATS server agree again")
}
