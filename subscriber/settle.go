package subscriber

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Headers of a scheduled message (NATS ADR-51).
const (
	headerSchedule       = "Nats-Schedule"
	headerScheduleTarget = "Nats-Schedule-Target"
)

// Waits that are no attempts.
const (
	localWait  = 10 * time.Second // until this machine is asked again for what it did not have
	letterWait = 10 * time.Second // until a dead letter that was not taken is tried again
	laneWait   = 10 * time.Second // until a lane that took nothing is tried again
)

// settle does what follows from an attempt. The message is acknowledged last.
// What NATS has to store on the way is not waited for here: the slot is free for
// the next delivery.
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

// schedule publishes the schedule of the delivery's next attempt; once that is
// stored it acknowledges the message and counts a retry, if count is set. attempts
// is the number made so far.
func (d *Dispatcher) schedule(ctx context.Context, dl *delivery, env wire.Envelope, at time.Time, attempts int, count *endpointMetrics) {
	d.settling.Add(1)
	if count != nil {
		count.settling.Add(1)
	}
	s := &scheduled{d: d, ctx: ctx, msg: dl.msg, env: env, at: at, attempts: attempts, count: count}
	if err := d.opts.Retries.Enqueue(ctx, d.scheduleOf(dl.msg, env, at, nil), s); err != nil {
		s.Published(err)
	}
}

// scheduled is a delivery whose schedule is being published. It implements
// [publish.Completion].
type scheduled struct {
	d        *Dispatcher
	ctx      context.Context
	msg      *intake.Message
	env      wire.Envelope
	at       time.Time
	attempts int
	count    *endpointMetrics
}

func (s *scheduled) Published(err error) {
	if err == nil {
		s.stored()
		s.done()
		return
	}
	go func() {
		defer s.done()
		s.failed(err)
	}()
}

func (s *scheduled) done() {
	if s.count != nil {
		s.count.settling.Add(-1)
	}
	s.d.settling.Done()
}

func (s *scheduled) stored() {
	failpoint.Hit(failpoint.RetryStored)
	s.msg.Ack()
	if s.count != nil {
		s.count.retry().Inc()
	}
}

func (s *scheduled) failed(err error) {
	if publish.IsTooLarge(err) && s.env.LastError != "" {
		// What the receiver said must not cost an event its retries.
		s.env.LastError = ""
		if err = s.d.opts.Retries.Publish(s.ctx, s.d.scheduleOf(s.msg, s.env, s.at, nil)); err == nil {
			s.stored()
			return
		}
	}
	if !publish.IsRefused(err) {
		s.d.giveBack(s.msg, s.env, err)
		return
	}
	s.env.LastError = fmt.Sprintf("NATS refused the schedule of the next attempt: %v", err)
	reason := dlq.ReasonUnpublishable
	if publish.IsTooLarge(err) {
		reason = dlq.ReasonTooLarge
	}
	s.env.Attempt = max(s.attempts, 1)
	s.d.deadLetter(s.ctx, s.msg, s.env, reason, s.attempts)
}

// scheduleOf makes the message that comes again at a time, with more headers if
// there are any.
func (d *Dispatcher) scheduleOf(m *intake.Message, env wire.Envelope, at time.Time, more nats.Header) *nats.Msg {
	h := wire.EventHeaders(m.Msg.Header)
	env.WriteTo(h)
	maps.Copy(h, more)
	// The same schedule published twice replaces itself, and once it has fired
	// it is known by the message that it was made from.
	h[nats.MsgIdHdr] = []string{position(m).HopID()}
	// nats.go's own option truncates to whole seconds.
	h[headerSchedule] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	h[headerScheduleTarget] = []string{d.opts.Names.DueSubject(env.Endpoint)}
	return &nats.Msg{
		Subject: d.opts.Names.RetrySubject(env.Endpoint, env.Key),
		Header:  h,
		Data:    m.Msg.Data,
	}
}

// deadLetter publishes the delivery's dead letter and acknowledges the message.
// A letter that finds no room, or is refused, is tried again later: the verdict
// stands, so the endpoint hears nothing of it.
func (d *Dispatcher) deadLetter(ctx context.Context, m *intake.Message, env wire.Envelope, reason dlq.Reason, attempts int) {
	for {
		err := d.opts.Letters.Write(ctx, env, reason, attempts, m.Msg.Header, m.Msg.Data, position(m).HopID())
		if err == nil {
			failpoint.Hit(failpoint.LetterStored)
			m.Ack()
			d.noteLetter(&env, reason, attempts)
			return
		}
		if !isFull(err) && !publish.IsRefused(err) {
			d.giveBack(m, env, err)
			return
		}
		d.sampled.Error("the dead letter is not taken; the delivery waits", zap.String("endpoint", env.Endpoint),
			zap.String("id", env.EventID), zap.Error(err))
		// It must not stay in the fast lane: it would hold back the truncation.
		err = d.opts.Retries.Publish(ctx, d.scheduleOf(m, env, d.opts.ServerTime().Add(letterWait), dlq.VerdictHeader(reason, attempts)))
		switch {
		case err == nil:
			m.Ack()
			return
		case !publish.IsRefused(err):
			d.giveBack(m, env, err)
			return
		}
		// Nobody takes it: it stays here.
		select {
		case <-time.After(letterWait):
		case <-ctx.Done():
			m.Nak()
			return
		}
	}
}

// deadLetterLater is deadLetter for a delivery that holds a slot, which is not kept
// for that long.
func (d *Dispatcher) deadLetterLater(ctx context.Context, dl *delivery, env wire.Envelope, reason dlq.Reason, attempts int) {
	counts := &dl.ep.metrics
	counts.settling.Add(1)
	d.settling.Go(func() {
		defer counts.settling.Add(-1)
		d.deadLetter(ctx, dl.msg, env, reason, attempts)
	})
}

// noteLetter counts a dead letter, and logs it unless there are too many.
func (d *Dispatcher) noteLetter(env *wire.Envelope, reason dlq.Reason, attempts int) {
	label, kind := d.countLetter(env.Endpoint, reason)
	ok, omitted := d.letterLines.allow(label, kind, time.Now())
	if !ok {
		return
	}
	fields := []zap.Field{
		zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID), zap.String("subject", env.Subject), zap.String("source", env.Source),
		zap.String("reason", string(reason)), zap.Int("attempts", attempts), zap.Int("generation", env.Generation),
		zap.Int("status", env.LastStatus), zap.String("error", env.LastError),
	}
	if omitted > 0 {
		fields = append(fields, zap.Int("omitted", omitted))
	}
	d.log.Warn("dead letter", fields...)
}

func isFull(err error) bool { return errors.Is(err, publish.ErrFull) }

// giveBack leaves the delivery pending after NATS did not take what it was to
// become.
func (d *Dispatcher) giveBack(m *intake.Message, env wire.Envelope, err error) {
	if !errors.Is(err, publish.ErrClosed) && !errors.Is(err, context.Canceled) {
		d.log.Error("delivery stays pending", zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID), zap.Error(err))
	}
	m.Nak()
}

// foreign handles a message on one of our subjects that is no delivery.
func (d *Dispatcher) foreign(ctx context.Context, dl *delivery, err error) {
	d.metrics.foreign.Inc()
	subject := dl.msg.Msg.Subject
	env := wire.Envelope{
		Key:       position(dl.msg).HopID(), // of its schedule, should it need one
		Endpoint:  endpointOf(subject),
		Subject:   subject,
		Source:    position(dl.msg).Source(),
		Accepted:  dl.msg.Stored,
		LastError: strings.ReplaceAll(err.Error(), "\n", "; "),
	}
	d.deadLetter(ctx, dl.msg, env, dlq.ReasonUnpublishable, 0)
}
