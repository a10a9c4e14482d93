package subscriber

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"
)

// An attempt that hangs must not hold its event: the events behind it could not be
// settled, and a matcher that takes over would wait for it. So after a while its delivery
// is stored as a schedule that fires when the attempt is over for sure: a lease. When the
// attempt ends, the lease is dropped, or replaced by what the delivery becomes. If the
// process ends before, it fires, and somebody makes the attempt again.

const (
	// leasesPerSecond bounds what leases cost: with a sync at every write a server stores
	// some 700 in a second.
	leasesPerSecond = 200
	// leaseLonger is how much later than its attempt must end a lease fires.
	leaseLonger = 5 * time.Second
	// leaseAgain is the wait before NATS is asked again for what it gave no answer to.
	leaseAgain = 250 * time.Millisecond

	// An endpoint of whose direct attempts more than leaseShare are leased, on average over
	// leaseOver of them, gets none for leaseRest.
	leaseShare = 0.02
	leaseOver  = 256
	leaseRest  = 30 * time.Second
)

// direct is what the dispatcher knows about direct deliveries.
type direct struct {
	room    room
	on      atomic.Bool  // they are taken
	success atomic.Int64 // when the latest was delivered, in Unix nanoseconds; 0: none was

	store   leaseStore
	limit   *rate.Limiter
	mu      sync.Mutex
	running map[string]*Direct // those with a lease whose attempt is being made, by key
	leased  atomic.Int32       // how many
	due     recentKeys         // of retries that came here
	ending  sync.WaitGroup     // leases that are dropped or replaced
}

// lease is that of one delivery.
type lease struct {
	env      wire.Envelope
	sequence uint64        // of the message; valid when stored is closed
	none     bool          // it was not taken, for certain; valid then, too
	stored   chan struct{} // closed when JetStream has it, or does not matter any more
	fired    *message      // it came back while the attempt was made; guarded by Direct.mu
	over     bool          // what comes back now comes too late for that; guarded by Direct.mu
}

// Secure has a direct delivery stored that has held its event for long enough: one that
// waits goes back to its owner, and one whose attempt is being made is leased. It does
// nothing about one that is being settled anyway, and may be called again. The delivery
// must have been taken by [Dispatcher.Offer].
func (d *Dispatcher) Secure(x *Direct) {
	if x.ep.withdraw(&x.dl) {
		x.Owner.WriteDown(WhyLate)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.phase != attempting || x.lease != nil || !d.direct.limit.Allow() {
		return
	}
	l := &lease{env: x.Owner.Envelope(), stored: make(chan struct{})}
	x.lease = l
	x.ep.noteLease(time.Now())
	d.settling.Go(func() { d.takeLease(d.work, x, l) })
}

// takeLease stores the lease of a delivery, and lets its event go.
func (d *Dispatcher) takeLease(ctx context.Context, x *Direct, l *lease) {
	d.direct.mu.Lock()
	d.direct.running[l.env.Key] = x
	d.direct.leased.Store(int32(len(d.direct.running)))
	d.direct.mu.Unlock()

	timeout := x.ep.settings().Timeout
	for {
		due := d.opts.ServerTime().Add(timeout + leaseLonger) // from now: the tries before may have taken long
		msg := d.scheduleOf(x.dl.msg, l.env, due, nil)
		msg.Header[nats.MsgIdHdr] = []string{x.Owner.HopID() + "/lease"}
		sequence, err := d.direct.store.take(context.WithoutCancel(ctx), msg) // or it would not be known
		if err == nil || errors.Is(err, errFired) {                           // there already: the delivery has another life
			failpoint.Hit(failpoint.LeaseStored)
			l.sequence = sequence
			d.metrics.leases.Inc()
			close(l.stored)
			x.Owner.Settled(true)
			return
		}
		if errors.Is(err, errNotTaken) && x.ended() { // and needs none any more
			l.none = true
			close(l.stored)
			return
		}
		if ctx.Err() != nil {
			close(l.stored)
			x.Owner.WriteDown(WhyStopped)
			return
		}
		d.sampled.Warn("no lease is taken; the event waits", zap.String("endpoint", l.env.Endpoint), zap.Error(err))
		select {
		case <-time.After(leaseAgain):
		case <-ctx.Done():
		}
	}
}

// ended reports whether the attempt was made.
func (x *Direct) ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.phase == attempted
}

// settleLeased does what follows from an attempt of a delivery that has a lease.
//
// Promise 1: the lease goes when the delivery was accepted, else something takes its place.
func (d *Dispatcher) settleLeased(ctx context.Context, dl *delivery, x *Direct, r outcome.Result) {
	l := x.lease
	<-l.stored // nothing is undone before it is known to be there
	x.mu.Lock()
	fired := l.fired
	l.over = true
	x.mu.Unlock()
	d.direct.mu.Lock()
	delete(d.direct.running, l.env.Key)
	d.direct.leased.Store(int32(len(d.direct.running)))
	d.direct.mu.Unlock()
	if fired != nil {
		dl.msg = *fired
		d.settle(ctx, dl, l.env, r)
		return
	}
	if l.none {
		d.settleUnleased(ctx, dl, x, r)
		return
	}
	if l.sequence == 0 {
		return // another life goes on, or the owner has it
	}
	d.endLease(ctx, dl, l, r)
}

// endLease drops the lease of a delivery that was accepted, or replaces it.
func (d *Dispatcher) endLease(ctx context.Context, dl *delivery, l *lease, r outcome.Result) {
	now := d.opts.ServerTime()
	env := l.env
	last := context.WithoutCancel(ctx) // of each try: a stop waits for one more
	todo := decide(r, &env, &dl.ep.settings().Settings, now, d.random())
	if todo.verb == ack {
		failpoint.Hit(failpoint.Accepted)
		d.direct.success.Store(time.Now().UnixNano())
		d.untilAnswered(ctx, &env, func() error { return d.direct.store.drop(last, l.sequence) })
		failpoint.Hit(failpoint.LeaseDropped)
		return
	}
	at, more := now, nats.Header(nil)
	attempts := env.Attempt
	switch todo.verb {
	case postpone:
		at = todo.at
	case reschedule:
		note(&env, d.inServerTime(r))
		env.Attempt++
		at = todo.at
	case deadLetter:
		note(&env, d.inServerTime(r))
		more = dlq.VerdictHeader(todo.reason, attempts) // the letter is written when it fires, which is now
	}
	msg := d.scheduleOf(dl.msg, env, at, more)
	replaced := d.untilAnswered(ctx, &env, func() error {
		err := d.direct.store.replace(last, l.sequence, msg)
		if publish.IsTooLarge(err) && env.LastError != "" {
			// The words of the receiver must not cost an event its retries.
			env.LastError = ""
			msg = d.scheduleOf(dl.msg, env, at, more)
			err = d.direct.store.replace(last, l.sequence, msg)
		}
		return err
	})
	if replaced && todo.verb == reschedule {
		dl.ep.metrics.retry().Inc()
	}
	failpoint.Hit(failpoint.LeaseReplaced)
}

// untilAnswered asks NATS until it answers, or ctx ends. It reports whether that was done
// which was asked for: if the lease has fired the result of the attempt counts for
// nothing, and the delivery goes on from there.
func (d *Dispatcher) untilAnswered(ctx context.Context, env *wire.Envelope, ask func() error) bool {
	for {
		err := ask()
		switch {
		case err == nil:
			return true
		case errors.Is(err, errFired):
			d.metrics.leasesFired.Inc()
			return false
		case ctx.Err() != nil:
			return false // it fires
		}
		d.sampled.Warn("the lease of an attempt that ended is still there", zap.String("endpoint", env.Endpoint), zap.Error(err))
		select {
		case <-time.After(leaseAgain):
		case <-ctx.Done():
		}
	}
}

// keepFired holds a lease that fired while its attempt is still made here, or before it is
// known that it is stored: it waits for that result.
func (d *Dispatcher) keepFired(m message) bool {
	if d.direct.leased.Load() == 0 {
		return false
	}
	d.direct.mu.Lock()
	x := d.direct.running[m.Msg.Header.Get(wire.HeaderKey)]
	d.direct.mu.Unlock()
	if x == nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lease.over || x.lease.fired != nil {
		return false
	}
	x.lease.fired = &m
	return true
}

// noteLease counts a lease: an endpoint that needs many gets nothing directly for a while.
func (e *member) noteLease(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leased += 1.0 / leaseOver; e.leased > leaseShare {
		e.notDirect, e.leased = now.Add(leaseRest), 0
	}
}
