package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// An ordered endpoint is always served from its lane, whose consumer hands out
// one delivery at a time. The first of the line is retried in place: the lane
// moves on when it is delivered or dead-lettered. How often it was attempted is
// in the state bucket, because the server's own count is lost in a crash.

func deliveryName(env *wire.Envelope) string { return fmt.Sprintf("%s/%d", env.Key, env.Generation) }

// inPlace makes an attempt of the first delivery of an ordered endpoint's line.
func (d *Dispatcher) inPlace(ctx context.Context, dl *delivery, env wire.Envelope) {
	if dl.head != nil && d.settledElsewhere(ctx, dl) {
		return
	}
	if dl.head == nil {
		known, err := d.recall(ctx, dl, &env)
		if err != nil {
			d.sampled.Warn("it is not known how often the first delivery of an ordered endpoint was attempted; it waits",
				zap.String("endpoint", env.Endpoint), zap.Error(err))
			d.holdLine(dl, unknownWait)
			return
		}
		dl.head = &known
	}
	h := dl.head
	if wait := d.headWait(dl); wait > 0 && !h.Stands && !d.resumedSince(dl.ep, h.Last) {
		d.holdHead(dl, wait)
		return
	}
	if h.Stands && d.passOver(ctx, dl, env) {
		return
	}
	env.Attempt, env.FirstAttempt, env.LastAttempt, env.LastStatus, env.LastError = h.Attempt, h.First, h.Last, h.Status, h.Error
	d.attempt(ctx, dl, &env, func(r outcome.Result) { d.settleInPlace(ctx, dl, env, r) })
}

// recall returns what the state bucket knows about the delivery. It is asked
// only when somebody may have attempted the delivery before.
func (d *Dispatcher) recall(ctx context.Context, dl *delivery, env *wire.Envelope) (state.Head, error) {
	fresh := headOf(env, time.Time{})
	if dl.ep.knowsHead() && dl.msg.Deliveries <= 1 {
		return fresh, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stored, at, err := state.HeadOf(ctx, d.opts.State, env.Endpoint)
	if err != nil {
		return state.Head{}, err
	}
	dl.ep.learnHead()
	if stored.Delivery != fresh.Delivery || stored.Attempt < 1 {
		return fresh, nil // of a delivery that is settled
	}
	dl.planned = at
	return stored, nil
}

// settledElsewhere reports whether the delivery, which waited here for another
// attempt, was settled by another replica meanwhile: this one may have been cut
// off from NATS, or stopped. The line may be far ahead then.
func (d *Dispatcher) settledElsewhere(ctx context.Context, dl *delivery) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	info, err := d.opts.LookLane(ctx, dl.ep.name)
	switch {
	case err != nil:
		d.sampled.Warn("it is not known whether the first delivery of an ordered endpoint is settled; it waits",
			zap.String("endpoint", dl.ep.name), zap.Error(err))
		d.holdLine(dl, unknownWait)
		return true
	case info.AckFloor.Stream >= dl.msg.Sequence:
		dl.msg.Ack()
		return true
	}
	return false
}

// settleInPlace does what follows from an attempt of the line's first delivery.
func (d *Dispatcher) settleInPlace(ctx context.Context, dl *delivery, env wire.Envelope, r outcome.Result) {
	settings := &dl.ep.settings().Settings
	now := d.opts.ServerTime()
	todo := decide(r, &env, settings, now, d.random())
	attempts := env.Attempt
	switch todo.verb {
	case ack:
		failpoint.Hit(failpoint.Accepted)
		dl.msg.Ack()
	case giveBack:
		dl.msg.Nak()
	case postpone:
		d.holdLine(dl, todo.at.Sub(now))
	case reschedule:
		note(&env, d.inServerTime(r))
		env.Attempt++
		d.remember(ctx, dl, headOf(&env, todo.at))
		dl.ep.metrics.retry().Inc()
		d.holdHead(dl, todo.at.Sub(now))
	case deadLetter:
		note(&env, d.inServerTime(r))
		if settings.Block && (todo.reason == dlq.ReasonExhausted || todo.reason == dlq.ReasonExpired) {
			h := headOf(&env, now)
			h.Attempt, h.Stands, h.Attempts = 1, true, attempts
			d.block(ctx, dl, &env, h)
			return
		}
		d.deadLetterLater(ctx, dl, env, todo.reason, attempts)
	}
}

// times says how often.
func times(n int) string {
	if n == 1 {
		return "1 time"
	}
	return strconv.Itoa(n) + " times"
}

func headOf(env *wire.Envelope, next time.Time) state.Head {
	return state.Head{
		Delivery: deliveryName(env), Attempt: env.Attempt, Next: next,
		First: env.FirstAttempt, Last: env.LastAttempt, Status: env.LastStatus, Error: env.LastError,
	}
}

// remember stores what is known about the line's first delivery. When that
// fails it is known here only, and a crash may repeat an attempt.
func (d *Dispatcher) remember(ctx context.Context, dl *delivery, h state.Head) {
	dl.head = &h
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := state.StoreHead(timed, d.opts.State, dl.ep.name, h)
	failpoint.Hit(failpoint.HeadStored)
	if err != nil && ctx.Err() == nil {
		d.sampled.Warn("it cannot be stored how often the first delivery of an ordered endpoint was attempted",
			zap.String("endpoint", dl.ep.name), zap.Error(err))
	}
}

// block lets the line stand: it pauses the endpoint until an operator acts. The
// pause is stored first: a crash in between leaves an endpoint that is paused,
// and a delivery with one attempt left.
func (d *Dispatcher) block(ctx context.Context, dl *delivery, env *wire.Envelope, h state.Head) {
	p := endpoint.Pause{
		Since: d.opts.ServerTime().UTC(), By: endpoint.PausedByFanjet, Blocked: env.Key,
		Reason: fmt.Sprintf("the first delivery of the line, of event %s, failed %s: %s", env.EventID, times(h.Attempts), h.Failure()),
	}
	dl.ep.pause(&p, time.Now())
	d.settling.Go(func() {
		d.storePause(ctx, dl.ep.name, p)
		d.remember(ctx, dl, h)
		d.holdLine(dl, 0)
		d.lanes.Look()
	})
}

// passOver settles or holds the delivery at which the line stood, if the operator
// wants that, or has not acted yet. Else it starts anew.
func (d *Dispatcher) passOver(ctx context.Context, dl *delivery, env wire.Envelope) bool {
	h := dl.head
	skip, err := d.skips(ctx, &env)
	switch {
	case errors.Is(err, errStillStands):
		d.holdLine(dl, unknownWait)
		return true
	case err != nil:
		d.sampled.Warn("it is not known whether the first delivery is to be passed over; it waits", zap.String("endpoint", env.Endpoint), zap.Error(err))
		d.holdLine(dl, unknownWait)
		return true
	case !skip:
		h.Stands, h.First = false, time.Time{}
		return false
	}
	env.FirstAttempt, env.LastAttempt, env.LastStatus, env.LastError = h.First, h.Last, h.Status, h.Error
	env.Attempt = h.Attempts
	d.settling.Go(func() {
		d.deadLetter(ctx, dl.msg, env, dlq.ReasonExhausted, h.Attempts)
		if err := state.ForgetSkipped(ctx, d.opts.State, env.Endpoint, env.Key); err != nil && ctx.Err() == nil {
			d.sampled.Warn("the word to pass over a delivery cannot be removed; it does no harm", zap.String("endpoint", env.Endpoint), zap.Error(err))
		}
	})
	return true
}

// errStillStands means that this replica got the delivery before it heard of
// the pause.
var errStillStands = errors.New("the line still stands")

// skips reports whether the operator gave the delivery up at which the line
// stood.
func (d *Dispatcher) skips(ctx context.Context, env *wire.Envelope) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pause, err := state.PauseOf(ctx, d.opts.State, env.Endpoint)
	if err != nil {
		return false, err
	}
	if pause != nil {
		return false, errStillStands
	}
	delivery, err := state.Skipped(ctx, d.opts.State, env.Endpoint)
	return delivery == env.Key, err
}
