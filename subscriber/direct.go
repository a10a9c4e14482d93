package subscriber

import (
	"context"
	"sync"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"
)

// Direct is a delivery that a matcher hands over without having stored it: nearly all are
// delivered within a millisecond, and need not be. Its event is not acknowledged before
// it is settled: delivered, or stored as what it became. Owner, Event and Envelope are
// set before [Dispatcher.Offer], and not changed then.
type Direct struct {
	Owner Owner
	Event *intake.Message
	// Envelope is what the deliveries of the event have in common, and shared by them:
	// it has no endpoint, key and source.
	Envelope *wire.Envelope

	dl delivery
	ep *member // to which it was offered

	mu    sync.Mutex
	phase phase
	lease *lease // nil: none was asked for
}

// phase is where a direct delivery is.
type phase int

const (
	waiting    phase = iota // for a slot, or on its way back to its owner
	attempting              // an attempt is made
	attempted               // it was; what it becomes is being stored, or all is done
)

// Owner is who handed over a direct delivery, and holds its event. Its methods may be
// called concurrently, and do not block.
type Owner interface {
	// Settled is called when the event need not be held for the delivery any more. It was
	// delivered; or, if stored, JetStream has what it became.
	Settled(stored bool)
	// WriteDown gives back a delivery of which no attempt was made: the owner stores it.
	// Of Settled and WriteDown one is called, once.
	WriteDown(Why)
	// Envelope is that of the delivery, all of it.
	Envelope() wire.Envelope
	// HopID is the Nats-Msg-Id with which the delivery would be stored.
	HopID() string
	// Fresh reports whether nobody else can have the event at a time, so that an attempt
	// may begin.
	Fresh(now time.Time) bool
	// Lapsed reports whether somebody else may have it.
	Lapsed() bool
}

// Why is why a delivery is not made directly, but stored.
type Why string

// The reasons.
const (
	Taken       Why = ""              // it is made directly
	WhyOff      Why = "off"           // none is, for the moment
	WhyAgain    Why = "sent_again"    // its event may have been handled before
	WhyWide     Why = "wide"          // its event goes to many endpoints
	WhyLarge    Why = "large"         // it could not be stored with all that a retry adds
	WhyExpires  Why = "expires"       // it would soon be too old
	WhyEndpoint Why = "endpoint"      // its endpoint has a lane, or is slow
	WhyBusy     Why = "busy"          // its endpoint has as many waiting as it may
	WhyRoom     Why = "room"          // the process has as many under way as it may
	WhyLate     Why = "late"          // it waited for too long
	WhyMoved    Why = "moved"         // its endpoint got a lane, or was removed, while it waited
	WhyStale    Why = "stale"         // NATS heard nothing of its event for too long
	WhyStopped  Why = "stopped"       // the process ends
	WhyUndone   Why = "not_attempted" // its attempt did not come about, or what it became was not stored
)

// Whys are all reasons.
func Whys() []Why {
	return []Why{
		WhyOff, WhyAgain, WhyWide, WhyLarge, WhyExpires, WhyEndpoint, WhyBusy, WhyRoom, WhyLate, WhyMoved, WhyStale, WhyStopped, WhyUndone,
	}
}

const (
	// slowDirect is the mean time of an endpoint's attempts, in seconds, from which on it
	// gets nothing directly: too many attempts would outlast the time for which an event
	// may be held.
	slowDirect = 0.25
	// expiresSoon is how much longer than an attempt a delivery must live to be made
	// directly: expiry is the business of those who store it.
	expiresSoon = time.Minute
)

// Offer hands over a delivery. It is taken, or the owner hears why not, and has to store
// it. It never blocks.
func (d *Dispatcher) Offer(endpoint string, x *Direct) Why {
	if !d.TakesDirect() {
		return WhyOff
	}
	e := d.endpoint(endpoint)
	if e == nil {
		return WhyEndpoint
	}
	x.ep = e
	x.dl = delivery{msg: message{x.Event, x}, ep: e}
	why, others := e.offerDirect(&x.dl, time.Now())
	if others != nil {
		d.divert(others)
	}
	if why == Taken {
		failpoint.Hit(failpoint.Offered)
		d.pump(e)
	}
	return why
}

// TakesDirect reports whether deliveries may be made directly at present.
func (d *Dispatcher) TakesDirect() bool { return d.direct.on.Load() }

// offerDirect takes a direct delivery into the queue. others are deliveries that must go
// to the lane.
func (e *member) offerDirect(d *delivery, now time.Time) (why Why, others []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return WhyStopped, nil
	case e.target.Ordered, e.laned.Load(), e.latency >= slowDirect, now.Before(e.notDirect):
		return WhyEndpoint, nil
	case e.gate.Barred(now):
		return WhyEndpoint, e.toLane(now, "")
	case e.shared >= e.mayWait():
		return WhyBusy, nil
	case e.target.Retry.MaxAge > 0 && d.msg.Age+e.target.Timeout+expiresSoon > e.target.Retry.MaxAge:
		return WhyExpires, nil
	}
	e.enqueue(d, now)
	return Taken, nil
}

// mayWait is how many deliveries may wait for the endpoint: what it serves within its
// patience. The caller holds mu.
func (e *member) mayWait() int {
	if e.latency == 0 {
		return e.target.MaxInFlight // nothing is known of it
	}
	return max(e.target.MaxInFlight, int(float64(e.target.MaxInFlight)*maxWait.Seconds()/e.latency))
}

// withdraw takes a delivery out of the queue, if it is still there.
func (e *member) withdraw(d *delivery) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, waiting := range e.queue {
		if waiting == d {
			e.remove(i)
			return true
		}
	}
	return false
}

// late takes the direct deliveries out of the queue that have waited longer than a limit.
func (e *member) late(now time.Time, limit time.Duration) (out []*Direct) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := 0; i < len(e.queue); i++ {
		if x := e.queue[i].msg.direct(); x != nil && now.Sub(e.queue[i].since) > limit {
			out = append(out, x)
			e.remove(i)
			i--
		}
	}
	return out
}

// processDirect makes the first attempt of a direct delivery.
func (d *Dispatcher) processDirect(ctx context.Context, dl *delivery, x *Direct) {
	switch {
	case ctx.Err() != nil:
		x.Owner.WriteDown(WhyStopped)
	case !x.Owner.Fresh(time.Now()):
		x.Owner.WriteDown(WhyStale)
	default:
		x.to(attempting)
		d.attempt(ctx, dl, x.Envelope, func(r outcome.Result) { d.settleDirect(ctx, dl, x, r) })
	}
}

// settleDirect does what follows from an attempt.
func (d *Dispatcher) settleDirect(ctx context.Context, dl *delivery, x *Direct, r outcome.Result) {
	if x.to(attempted) != nil {
		d.direct.ending.Go(func() { d.settleLeased(ctx, dl, x, r) })
		return
	}
	d.settleUnleased(ctx, dl, x, r)
}

// settleUnleased does what follows from an attempt of a delivery of which nothing is
// stored.
func (d *Dispatcher) settleUnleased(ctx context.Context, dl *delivery, x *Direct, r outcome.Result) {
	if r.Class == outcome.Class2xx {
		failpoint.Hit(failpoint.Accepted)
		d.direct.success.Store(time.Now().UnixNano())
		x.Ack()
		return
	}
	failpoint.Hit(failpoint.DirectFailed)
	d.settle(ctx, dl, x.Owner.Envelope(), r)
}

// to takes the delivery to a phase, and returns its lease if it has one.
func (x *Direct) to(p phase) *lease {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.phase = p
	return x.lease
}

// A direct delivery is the settler of its message.

// Ack settles it: it was delivered.
func (x *Direct) Ack() { x.Owner.Settled(false) }

// Nak gives it back to its owner, who stores it.
func (x *Direct) Nak() { x.Owner.WriteDown(WhyUndone) }

// Lapsed reports whether somebody else may have its event.
func (x *Direct) Lapsed() bool { return x.Owner.Lapsed() }
