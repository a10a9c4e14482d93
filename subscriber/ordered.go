package subscriber

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/jsapi"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// An ordered endpoint is always served from its lane, whose consumer hands out
// one delivery at a time. The first of the line is retried in place: the lane
// moves on when it is delivered or dead-lettered. How often it was attempted is
// in the state bucket, because the server's own count is lost in a crash.

// drainWait is how long older deliveries are sent away that would hold up others.
const drainWait = time.Second

// unknownWait is how long the line waits when the state bucket cannot be read.
const unknownWait = 2 * time.Second

func deliveryName(env *wire.Envelope) string { return fmt.Sprintf("%s/%d", env.Key, env.Generation) }

// longStand is how long a line may stand before its lane is left to others.
const longStand = 5 * time.Second

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

// stepTolerance is by how much a server's clock may be set, or that of another
// one of a cluster be off, without anybody having to care.
const stepTolerance = 5 * time.Second

// replan returns when an attempt may begin that was planned for next at some
// time. When that time has not come yet, the server's clock was set back since:
// what it would have waited then it waits from now on.
func replan(next, planned, now time.Time) time.Time {
	if planned.Sub(now) <= stepTolerance || !next.After(planned) {
		return next
	}
	return now.Add(next.Sub(planned))
}

// headWait is how long the first delivery has to wait yet. What it has waited here
// it has done by a clock that nobody can set.
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

// drain looks whether older deliveries of endpoints that were made ordered are
// settled. Only then their lanes begin.
func (d *Dispatcher) drain(ctx context.Context) {
	for name, e := range *d.endpoints.Load() {
		if !e.isDraining() || ctx.Err() != nil {
			continue
		}
		left, err := d.olderThanLane(ctx, name)
		if err != nil {
			d.sampled.Warn("cannot look for older deliveries of an ordered endpoint", zap.String("endpoint", name), zap.Error(err))
			return
		}
		e.drained(!left)
	}
}

// drainLater sends older deliveries away that would hold up other endpoints.
// They come again in a moment, and the line still waits for them.
func (d *Dispatcher) drainLater(deliveries []*delivery) {
	for _, dl := range deliveries {
		dl.ep.moved()
		env, err := wire.ReadEnvelope(dl.msg.Msg.Header)
		if err != nil {
			d.foreign(d.work, dl, err)
			continue
		}
		d.schedule(d.work, dl, env, d.opts.ServerTime().Add(drainWait), env.Attempt-1, nil)
	}
}

func (e *member) isDraining() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.draining
}

// drained takes over whether nothing older was found. That counts when it is
// said twice in a row: a delivery may have been on its way into the log.
func (e *member) drained(nothing bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = e.draining && !(nothing && e.drainedOnce)
	e.drainedOnce = nothing
}

// olderThanLane reports whether deliveries of the endpoint are left that do not
// come from its lane.
func (d *Dispatcher) olderThanLane(ctx context.Context, endpoint string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	names := d.opts.Names
	for _, q := range []struct{ stream, subject string }{
		{names.DeliveriesStream(), names.DeliverSubject(endpoint)},
		{names.RetriesStream(), names.RetrySubject(endpoint, "*")},
		{names.RetriesStream(), names.DueSubject(endpoint)},
	} {
		// There may be very many: the first will do.
		_, err := jsapi.Of(d.opts.JetStream).Next(ctx, q.stream, q.subject, 1)
		if !errors.Is(err, jsapi.ErrNoMessage) {
			return true, err
		}
	}
	return false, nil
}
