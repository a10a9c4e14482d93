package gateway

import (
	"sync/atomic"
	"time"
)

// clock tells the time of the NATS server: schedules fire by it, and the times
// of events are its.
type clock struct{ offset atomic.Int64 }

// now returns the server's time.
func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// observe learns from a timestamp that the server put into an answer to a
// request that was made between asked and answered. Within what the round trip
// leaves open, the clocks count as equal.
func (c *clock) observe(server, asked, answered time.Time) {
	if server.IsZero() {
		return
	}
	half := answered.Sub(asked) / 2
	offset := server.Sub(asked.Add(half))
	if offset.Abs() <= half+time.Millisecond {
		offset = 0
	}
	c.offset.Store(int64(offset))
}
