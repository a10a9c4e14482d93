package subscriber

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/outcome"
)

// member is an endpoint at work: what may be sent to it now, and what waits.
type member struct {
	name    string
	metrics endpointMetrics
	slots   *slots
	begun   *sync.WaitGroup // counts what start returned, until its worker is done with it
	fast    *fastLane
	wake    func() // something that waits may be ready now; must not be called with mu held

	// laned says that its deliveries belong into its own lane. The matcher asks
	// it for every delivery.
	laned atomic.Bool

	// absurd is when a Retry-After that makes no sense was logged, in Unix nanoseconds.
	absurd atomic.Int64

	mu       sync.Mutex
	target   *attempt.Target
	gate     *gate.Gate
	inFlight int
	queue    []*delivery // waits, oldest first
	shared   int         // of queue: from the shared consumers
	moving   int         // on their way to the lane
	stopped  bool        // nothing starts any more
	draining bool        // made ordered, but older deliveries are not settled yet
	expiring bool        // behind an open circuit: the oldest delivery was too old

	// While it is in doubt, see gate.choosy.
	ahead   int         // how much of its lane is looked at; 0: as little as possible
	arrived time.Time   // when something came from the lane
	grew    atomic.Bool // ahead did, and the lane does not know yet

	// Of an ordered endpoint.
	headKnown   bool      // attempts of the line's first delivery are known here
	lineNext    time.Time // when the line's first delivery is tried next
	lineHead    string    // that delivery
	lineFor     time.Time // the same time by the server's clock, as it was planned; zero: it was not
	resumed     time.Time // when a pause ended
	drainedOnce bool      // the latest look found nothing older
	// atSwitch are the last sequences of the sources when it was made ordered, or a
	// little later; nil: they were not asked yet.
	atSwitch map[string]uint64

	lanedSince time.Time
	lanedWhy   string
	listed     bool // in fastLane.busy

	leased    float64   // how many of its direct attempts are leased: moving average
	notDirect time.Time // until when it gets nothing directly

	timer *time.Timer // looks at the queue again
	alarm time.Time   // when it does; zero: it does not

	latency   float64   // moving average of an attempt's time, in seconds
	success   time.Time // when the latest attempt succeeded
	delivered uint64
	failed    uint64
	lastError string
}

// reception is what becomes of a delivery that an endpoint was offered.
type reception int

const (
	accepted reception = iota // it waits in the queue, or can start
	diverted                  // it must go to the endpoint's lane
	returned                  // it must be given back
)

// offer takes a delivery from the shared consumers. others are deliveries that
// must go to the lane, too.
func (e *member) offer(d *delivery, now time.Time) (r reception, others []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return returned, nil
	case e.target.Ordered && e.draining:
		// A delivery from before the endpoint was ordered goes first, and not
		// through the lane, where newer deliveries wait already.
	case e.laned.Load():
		e.moving++
		return diverted, nil
	case e.gate.Barred(now):
		e.moving++
		return diverted, e.toLane(now, "")
	}
	e.enqueue(d, now)
	return accepted, nil
}

// enqueue lets a delivery of the fast lane wait for a slot. The caller holds mu.
func (e *member) enqueue(d *delivery, now time.Time) {
	d.since = now
	e.queue = append(e.queue, d)
	e.shared++
	if !e.listed {
		e.listed = true
		e.fast.list(e)
	}
}

// start takes the delivery out of the queue whose attempt may begin now. It
// holds a slot then.
func (e *member) start(now time.Time) *delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped || len(e.queue) == 0 {
		return nil
	}
	if first := e.queue[0]; first.started {
		return nil // back at the head of its line before its worker let it go
	} else if first.notBefore.After(now) {
		e.arm(now, first.notBefore)
		return nil
	}
	var i int
	var better bool
	permit, ok, retry := e.gate.Admit(now, e.inFlight)
	if ok {
		i, better = e.choose(now)
	} else if i = e.hasLast(now); i >= 0 {
		permit, ok, retry = e.gate.AdmitLast(now, e.inFlight)
	}
	if !ok {
		e.arm(now, retry)
		return nil
	}
	// Last, or an endpoint that may not begin anything would take the slot that
	// others were refused.
	if better || !e.slots.take(e, e.inFlight) {
		e.gate.Release(permit, now)
		return nil
	}
	d := e.queue[i]
	e.begun.Add(1)
	e.inFlight++
	d.permit, d.permitUsed, d.started = permit, false, true
	e.remove(i)
	if !d.lane {
		e.fast.starts(d, now)
	}
	if d.msg.direct() != nil {
		e.leased -= e.leased / leaseOver
	}
	return d
}

// remove takes one out of the queue.
func (e *member) remove(i int) {
	if !e.queue[i].lane {
		e.shared--
	}
	copy(e.queue[1:i+1], e.queue[:i]) // mostly it is the first, and nothing is moved
	e.queue[0] = nil
	e.queue = e.queue[1:]
	if len(e.queue) == 0 {
		e.queue = nil // let the backing array go
	}
}

// putFirst puts a delivery of an ordered endpoint back to the head of its line.
func (e *member) putFirst(d *delivery, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.queue = slices.Insert(e.queue, 0, d)
	if !d.lane {
		e.shared++
	}
	e.lineNext, e.lineHead, e.lineFor = d.notBefore, "", d.heldFor
	if d.head != nil {
		e.lineHead = d.head.Delivery
	}
	e.arm(now, d.notBefore)
	return true
}

// arm has wake called at a time, unless that happens sooner anyway.
func (e *member) arm(now, at time.Time) {
	if at.IsZero() || !e.alarm.IsZero() && !at.Before(e.alarm) && e.alarm.After(now) {
		return
	}
	e.alarm = at
	wait := max(at.Sub(now), 0)
	if e.timer == nil {
		e.timer = time.AfterFunc(wait, e.ring)
		return
	}
	e.timer.Reset(wait)
}

func (e *member) ring() {
	e.mu.Lock()
	e.alarm = time.Time{}
	e.mu.Unlock()
	e.wake()
}

// heard takes over the result of an attempt to deliver an event; final says that
// it gets no other. others are deliveries that must go to the lane, lapsed those
// that are too old to wait for an endpoint that is down.
func (e *member) heard(d *delivery, r outcome.Result, final bool, event string, now time.Time) (c gate.Change, others, lapsed []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.permitUsed {
		return 0, nil, nil
	}
	d.permitUsed = true
	c = e.gate.Done(now, d.permit, r, final, event)
	lapsed = e.lapse(d, c, now)
	const weight = 0.1
	switch r.Class {
	case outcome.ClassInterrupted, outcome.ClassLocal:
	case outcome.Class2xx:
		e.delivered++
		e.success = now
		e.latency += weight * (r.Took.Seconds() - e.latency)
	default:
		e.failed++
		e.latency += weight * (r.Took.Seconds() - e.latency)
		e.lastError = r.Failure()
	}
	if !e.laned.Load() && e.gate.Barred(now) {
		others = e.toLane(now, "")
	}
	return c, others, lapsed
}

// finish frees the slot of a delivery that was started.
func (e *member) finish(d *delivery, now time.Time) {
	e.mu.Lock()
	if !d.permitUsed {
		d.permitUsed = true
		e.gate.Release(d.permit, now) // there was no attempt
	}
	d.started = false
	e.inFlight--
	e.slots.putBack()
	e.mu.Unlock()
}

// ramping reports whether an attempt that ends can make room for more than one.
func (e *member) ramping() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue) > 0 && e.inFlight < e.target.MaxInFlight
}

// toLane has the endpoint's deliveries go to its lane from now on, and returns
// those that wait here. The caller holds mu. An empty why is one that the gate
// knows.
func (e *member) toLane(now time.Time, why string) []*delivery {
	if e.laned.Load() {
		return nil
	}
	e.laned.Store(true)
	e.lanedSince, e.lanedWhy = now, why
	if e.target.Ordered && e.draining {
		return nil
	}
	return e.takeShared()
}

// takeShared takes what came from the shared consumers out of the queue, to be
// moved to the lane. The caller holds mu.
func (e *member) takeShared() []*delivery {
	if e.shared == 0 {
		return nil
	}
	var out []*delivery
	e.queue = slices.DeleteFunc(e.queue, func(d *delivery) bool {
		if !d.lane {
			out = append(out, d)
		}
		return !d.lane
	})
	e.shared = 0
	e.moving += len(out)
	return out
}

// moved notes that a delivery arrived in the lane, or did not.
func (e *member) moved() {
	e.mu.Lock()
	e.moving--
	e.mu.Unlock()
}

// stop lets nothing start any more and returns what waits.
func (e *member) stop() []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.timer != nil {
		e.timer.Stop()
	}
	waiting := e.queue
	e.queue, e.shared = nil, 0
	return waiting
}

// configure takes over new settings. others are deliveries that must go to the
// lane.
func (e *member) configure(t *attempt.Target, now time.Time) (old *attempt.Target, others []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old = e.target
	e.target = t
	e.gate.Configure(&t.Settings, now)
	if t.Ordered && !old.Ordered {
		e.draining, e.drainedOnce, e.atSwitch = true, false, nil
	}
	if t.Ordered || e.gate.Barred(now) {
		others = e.toLane(now, "")
	}
	return old, others
}

// pause holds or, with nil, resumes the endpoint. others are deliveries that
// must go to the lane.
func (e *member) pause(p *endpoint.Pause, now time.Time) (others []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p == nil && e.gate.IsPaused() {
		e.hurryLine(now) // the operator's word counts at once for it, too
	}
	e.gate.SetPause(p, now)
	if p == nil {
		return nil
	}
	return e.toLane(now, "")
}

// settings returns what attempts are made with.
func (e *member) settings() *attempt.Target {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.target
}

// status tells how the endpoint does.
func (e *member) status(now time.Time) endpoint.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := endpoint.Status{
		Endpoint: e.name, Ordered: e.target.Ordered, InFlight: e.inFlight, Held: len(e.queue) + e.moving,
		Delivered: e.delivered, Failed: e.failed, LatencyMS: e.latency * 1000, LastError: e.lastError,
	}
	s.State, s.Reason, s.Since, s.Next = e.gate.Status(now)
	if s.State == endpoint.StateHealthy && e.laned.Load() && !e.target.Ordered {
		s.State, s.Reason, s.Since = endpoint.StateSlow, e.lanedWhy, e.lanedSince
		if s.Reason == "" {
			s.Reason = "what waited in its lane is being delivered"
		}
	}
	return s
}
