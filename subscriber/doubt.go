package subscriber

import (
	"slices"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/lanes"
)

// This file says what is done with the deliveries of an endpoint in doubt: its
// circuit is not closed, or it refuses what it gets.

// choose returns which delivery of the queue is attempted next. better says that
// one that would tell more may come from the lane in a moment: none is. The
// caller holds mu, and the queue is not empty.
func (e *member) choose(now time.Time) (i int, better bool) {
	choosy, passOver := e.gate.Choosy()
	if !choosy || e.target.Ordered {
		return 0, false
	}
	best, fresh := 0, 0
	for i, d := range e.queue {
		if !d.fresh {
			continue
		}
		if fresh++; fresh > passOver {
			return i, false
		}
		best = i
	}
	if single, _ := e.gate.Probing(now); !single {
		return best, false
	}
	if window := e.lookAhead(); len(e.queue) >= window && window < lanes.MaxWindow {
		e.ahead = min(4*window, lanes.MaxWindow)
		e.grew.Store(true)
	}
	// The lane does not say that there is nothing more: what was given back to it
	// is not among what it still has to send. Nor may one retry after the other
	// keep it waiting for ever.
	more := e.arrived.Add(lanes.QuietTime)
	if last := e.queue[0].since.Add(lanes.Turn); last.Before(more) {
		more = last
	}
	if more.After(now) && len(e.queue) < lanes.MaxWindow {
		e.arm(now, more)
		return 0, true
	}
	return best, false
}

// lookAhead is how much of its lane is looked at while only single attempts go
// out. The caller holds mu.
func (e *member) lookAhead() int {
	if e.expiring {
		return lanes.MaxWindow
	}
	_, passOver := e.gate.Choosy()
	return max(e.ahead, passOver+1)
}

// lapses reports whether a delivery that came from the lane is given up
// unattempted: it has become too old before the endpoint was found to be down.
// changed says that it was otherwise with the one before. serverTime tells the
// time by which events are accepted.
//
// That its circuit is open is not enough: it may be back. So a delivery that is
// too old is given up only between a probe that failed and the next one, and may
// be the next one itself. One that was never attempted stays for one attempt, as
// long as the endpoint answers: see [Gate.AttemptsLast].
func (e *member) lapses(d *delivery, now time.Time, serverTime func() time.Time) (is, changed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var late bool
	if e.gate.IsOpen() && e.target.Retry.MaxAge > 0 {
		if accepted, err := wire.Accepted(d.msg.Msg.Header); err == nil {
			over := serverTime().Sub(accepted) - e.target.Retry.MaxAge
			down := e.gate.DownSince(now)
			d.old = over > 0
			late = d.old && !down.IsZero() && over > now.Sub(down)
		}
	}
	before := e.expiring
	e.expiring = late || d.old && before || e.hasLast(now) >= 0
	return late && !(d.fresh && e.gate.AttemptsLast(now)), before != e.expiring
}

// hasLast returns which delivery of the queue is attempted once before it is given
// up; -1: none. The caller holds mu.
func (e *member) hasLast(now time.Time) int {
	if !e.gate.AttemptsLast(now) {
		return -1
	}
	return slices.IndexFunc(e.queue, func(d *delivery) bool { return d.lane && d.old && d.fresh })
}

// lapse takes the deliveries out of the queue that are given up because a probe
// has failed. The caller holds mu.
func (e *member) lapse(probe *delivery, c gate.Change, now time.Time) (lapsed []*delivery) {
	if !c.Has(gate.ProbeFailed) {
		return nil
	}
	last := e.gate.AttemptsLast(now)
	e.queue = slices.DeleteFunc(e.queue, func(d *delivery) bool {
		lapses := d.lane && d.old && !(d.fresh && last)
		if lapses {
			lapsed = append(lapsed, d)
		}
		return lapses
	})
	e.expiring = probe.old || lapsed != nil || e.hasLast(now) >= 0 // there may be many more
	return lapsed
}

// keeps is how long before the next single attempt its delivery is fetched
// already: to give it back and fetch it again would take longer. The caller holds mu.
func (e *member) keeps() time.Duration {
	if e.gate.IsOpen() {
		return 0 // what takes long enough, and there may be very many of them
	}
	return lanes.Turn
}
