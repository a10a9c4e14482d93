package subscriber

import (
	"context"
	"errors"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"go.uber.org/zap"
)

// Waits that are no attempts.
const (
	localWait  = 10 * time.Second // until this machine is asked again for what it did not have
	letterWait = 10 * time.Second // until a dead letter that was not taken is tried again
	laneWait   = 10 * time.Second // until a lane that took nothing is tried again
)

// settle does what follows from an attempt. The message is acknowledged last.
// The publishes that NATS has to store are not waited for here: the slot is free
// for the next delivery.
//
// Promise 1: a delivery is settled after a 2xx, or when what it became is stored.
func (d *Dispatcher) settle(ctx context.Context, dl *delivery, env wire.Envelope, r outcome.Result) {
	now := d.opts.ServerTime()
	todo := decide(r, &env, &dl.ep.settings().Settings, now, d.random())
	if todo.verb != ack && dl.msg.Lapsed() {
		todo.verb = giveBack // what becomes of it is decided by who has it now
	}
	switch todo.verb {
	case ack:
		failpoint.Hit(failpoint.Accepted)
		dl.msg.Ack()
		return
	case giveBack:
		dl.msg.Nak()
		return
	case postpone:
		d.schedule(ctx, dl, env, todo.at, env.Attempt-1, nil)
		return
	}
	attempts := env.Attempt
	note(&env, d.inServerTime(r))
	if todo.verb == deadLetter {
		d.deadLetterLater(ctx, dl, env, todo.reason, attempts)
		return
	}
	env.Attempt++
	d.schedule(ctx, dl, env, todo.at, attempts, &dl.ep.metrics)
}

// note writes into the envelope what the latest attempt left.
func note(env *wire.Envelope, r outcome.Result) {
	if env.FirstAttempt.IsZero() {
		env.FirstAttempt = r.Began
	}
	env.LastAttempt, env.LastStatus, env.LastError = r.Began, r.Status, r.Failure()
}

// inServerTime returns a result that began at a time of the server's clock: it is
// stored, and other replicas compare it with times of theirs.
func (d *Dispatcher) inServerTime(r outcome.Result) outcome.Result {
	r.Began = d.serverTime(r.Began)
	return r
}

// serverTime returns what time it was for the NATS server at a time of this
// machine that is not long ago.
func (d *Dispatcher) serverTime(local time.Time) time.Time {
	return d.opts.ServerTime().Add(-time.Since(local))
}

func isFull(err error) bool { return errors.Is(err, publish.ErrFull) }

// giveBack leaves the delivery pending after NATS did not take what it was to
// become.
func (d *Dispatcher) giveBack(m message, env wire.Envelope, err error) {
	if !errors.Is(err, publish.ErrClosed) && !errors.Is(err, context.Canceled) {
		d.sampled.Error("delivery stays pending", zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID), zap.Error(err))
	}
	m.Nak()
}
