package subscriber

import (
	"slices"
	"time"
)

const (
	// roomWait is how long a matcher waits for room before it has a delivery stored, and
	// sharedWait while others could make it, which get only what is stored.
	roomWait   = 250 * time.Millisecond
	sharedWait = 20 * time.Millisecond
)

// Room asks for room for n direct deliveries of an event, and waits for a moment if need
// be. With hurry it does not wait for long. What was got is given back with [Dispatcher.Free].
func (d *Dispatcher) Room(n int, hurry bool) bool {
	wait := roomWait
	if hurry || d.othersLive() {
		wait = sharedWait
	}
	return d.direct.room.take(n, wait)
}

// Free gives room back, when an event is settled.
func (d *Dispatcher) Free(n int) { d.direct.room.free(n) }

func (d *Dispatcher) othersLive() bool { return d.opts.OthersLive != nil && d.opts.OthersLive() }

// leastRoom is how many direct deliveries there may be besides twice those in flight.
const leastRoom = 64

// reviewDirect sets how many direct deliveries there may be, and gives back those that
// other gateways could make sooner.
func (d *Dispatcher) reviewDirect(now time.Time) {
	if !d.opts.Direct {
		return
	}
	d.direct.room.limit.Store(int64(2*d.slots.inUse() + leastRoom))
	if !d.othersLive() {
		return
	}
	d.fast.mu.Lock()
	busy := slices.Clone(d.fast.busy)
	d.fast.mu.Unlock()
	for _, e := range busy {
		for _, x := range e.late(now, sharedWait) {
			x.Owner.WriteDown(WhyLate)
		}
	}
}
