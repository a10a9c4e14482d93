package subscriber

import (
	"math"
	"time"

	"fanjet/internal/servertime"
	"fanjet/internal/state"
)

// unknownWait is how long the line waits when the state bucket cannot be read.
const unknownWait = 2 * time.Second

// longStand is how long a line may stand before its lane is left to others.
const longStand = 5 * time.Second

// replan returns when an attempt may begin that was planned for next at some
// time. When that time has not come yet, the server's clock was set back since:
// what it would have waited then it waits from now on.
func replan(next, planned, now time.Time) time.Time {
	if planned.Sub(now) <= servertime.StepTolerance || !next.After(planned) {
		return next
	}
	return now.Add(next.Sub(planned))
}

// headWait is how long the first delivery has to wait yet. The time that it has
// waited here counts by a clock that nobody can set.
func (d *Dispatcher) headWait(dl *delivery) time.Duration {
	now := d.opts.ServerTime()
	return min(replan(dl.head.Next, dl.planned, now).Sub(now), dl.ep.lineWait(dl.head))
}

// lineWait is how long the line has to wait yet for a delivery's next attempt, by
// the clock of this process; very long if that is not known.
func (e *member) lineWait(h *state.Head) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lineHead != h.Delivery || !e.lineFor.Equal(h.Next) {
		return math.MaxInt64
	}
	return time.Until(e.lineNext)
}

// holdHead is holdLine until the first delivery's next attempt.
func (d *Dispatcher) holdHead(dl *delivery, wait time.Duration) {
	d.holdLineFor(dl, wait, dl.head.Next)
}

// holdLine puts the first delivery back to the head of the line for a while.
func (d *Dispatcher) holdLine(dl *delivery, wait time.Duration) { d.holdLineFor(dl, wait, time.Time{}) }

// holdLineFor is holdLine until an attempt that is planned for next.
func (d *Dispatcher) holdLineFor(dl *delivery, wait time.Duration, next time.Time) {
	now := time.Now()
	dl.notBefore, dl.heldFor = now.Add(wait), next
	if !dl.ep.putFirst(dl, now) {
		dl.msg.Nak()
		return
	}
	if wait > longStand {
		d.lanes.Look()
	}
}

// lineStands reports whether an ordered endpoint's line stands for long, and
// until when its lane may be left to others. The caller holds mu.
func (e *member) lineStands(now time.Time) (stands bool, until time.Time) {
	until = e.lineNext.Add(-longStand)
	return e.target.Ordered && until.After(now), until
}

// knowsHead reports whether no attempt of the line's first delivery can have
// been made that is not known here.
func (e *member) knowsHead() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.headKnown
}

// learnHead notes that from now on it is so.
func (e *member) learnHead() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.headKnown = true
}

// resumedSince reports whether an endpoint was resumed after some time, by the
// server's clock: then its line is tried at once.
func (d *Dispatcher) resumedSince(e *member, last time.Time) bool {
	e.mu.Lock()
	resumed := e.resumed
	e.mu.Unlock()
	return !resumed.IsZero() && d.serverTime(resumed).After(last)
}

// hurryLine lets the head of an ordered endpoint's line be tried at once. The
// caller holds mu.
func (e *member) hurryLine(now time.Time) {
	e.resumed, e.lineNext = now, time.Time{}
	for _, d := range e.queue {
		d.notBefore = time.Time{}
	}
}
