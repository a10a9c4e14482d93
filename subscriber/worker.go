package subscriber

import (
	"context"
	"fmt"
	"time"

	"fanjet/dlq"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"
)

// workerIdle is how long a worker without work stays, so that its grown stack
// serves the next burst.
const workerIdle = 10 * time.Second

// pump begins the attempts of an endpoint that may begin.
func (d *Dispatcher) pump(e *member) {
	for dl := e.start(time.Now()); dl != nil; dl = e.start(time.Now()) {
		d.begin(dl)
	}
}

// beginUnasked begins a delivery that its endpoint was not asked for: it is not
// attempted. Only the goroutine that receives, or that of a delivery that is begun,
// may call it: then the count cannot have come down to nothing, after which
// [Dispatcher.Run] stops.
func (d *Dispatcher) beginUnasked(dl *delivery) {
	d.begun.Add(1)
	d.begin(dl)
}

// begin gives a delivery, which is counted in begun, to an idle worker, or to a
// new one. There are never more workers than messages in the windows.
func (d *Dispatcher) begin(dl *delivery) {
	select {
	case d.idle <- dl:
	default:
		d.workers.Go(func() { d.worker(dl) })
	}
}

func (d *Dispatcher) worker(dl *delivery) {
	timer := time.NewTimer(workerIdle)
	defer timer.Stop()
	for {
		for dl != nil {
			d.process(d.work, dl)
			dl = d.next(dl)
		}
		timer.Reset(workerIdle)
		select {
		case dl = <-d.idle:
		case <-timer.C:
			return
		case <-d.done:
			return
		}
	}
}

// next frees the slot of a delivery and returns another one of its endpoint for
// the same worker.
func (d *Dispatcher) next(dl *delivery) *delivery {
	defer d.begun.Done()
	e := dl.ep
	if e == nil || !dl.started {
		return nil
	}
	now := time.Now()
	e.finish(dl, now)
	next := e.start(now)
	if next != nil && e.ramping() {
		d.pump(e) // more than the one slot may be free now
	}
	d.slots.wake(d.pump)
	return next
}

// process makes one attempt of a delivery and settles it.
func (d *Dispatcher) process(ctx context.Context, dl *delivery) {
	if x := dl.msg.direct(); x != nil {
		d.processDirect(ctx, dl, x)
		return
	}
	env, err := wire.ReadEnvelope(dl.msg.Msg.Header)
	if subject := dl.msg.Msg.Subject; err == nil && env.Endpoint != wire.EndpointOf(subject) {
		err = fmt.Errorf("%w: a delivery to %s on %s", wire.ErrEnvelope, env.Endpoint, subject)
	}
	reason, attempts := dlq.Verdict(dl.msg.Msg.Header)
	switch {
	case dl.msg.Lapsed():
		dl.msg.Nak()
	case err != nil:
		d.foreign(ctx, dl, err)
	case reason != "" && reason != dlq.ReasonEndpointRemoved: // which may have come back
		d.deadLetter(ctx, dl.msg, env, reason, attempts)
	case dl.ep == nil:
		env.LastError = "the endpoint was removed from the configuration"
		d.deadLetter(ctx, dl.msg, env, dlq.ReasonEndpointRemoved, env.Attempt-1)
	case dl.expired:
		d.deadLetter(ctx, dl.msg, env, dlq.ReasonExpired, env.Attempt-1)
	case ctx.Err() != nil:
		dl.msg.Nak()
	case dl.lane && dl.ep.settings().Ordered:
		d.inPlace(ctx, dl, env)
	default:
		d.attempt(ctx, dl, &env, func(r outcome.Result) { d.settle(ctx, dl, env, r) })
	}
}
