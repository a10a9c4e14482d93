package subscriber

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
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
	orphanWait = 30 * time.Second // until an unknown endpoint is looked up again
)

// settle does what follows from an attempt. The message is acknowledged last.
func (d *Dispatcher) settle(ctx context.Context, m *intake.Message, ep *endpoint, env wire.Envelope, r Result) {
	now := d.opts.ServerTime()
	todo := decide(r, &env, &ep.Endpoint, now, d.random())
	switch todo.verb {
	case ack:
		m.Ack()
		return
	case giveBack:
		m.Nak()
		return
	case postpone:
		d.schedule(ctx, m, env, todo.at, env.Attempt-1)
		return
	}

	if env.FirstAttempt.IsZero() {
		env.FirstAttempt = r.Began
	}
	env.LastAttempt, env.LastStatus, env.LastError = r.Began, r.Status, r.describe()
	attempts := env.Attempt
	if todo.verb == deadLetter {
		d.deadLetter(ctx, m, env, todo.reason, attempts)
		return
	}
	env.Attempt++
	if d.schedule(ctx, m, env, todo.at, attempts) {
		ep.metrics.retries.Inc()
	}
}

// schedule publishes the schedule of the delivery's next attempt and
// acknowledges the message. attempts is the number made so far.
func (d *Dispatcher) schedule(ctx context.Context, m *intake.Message, env wire.Envelope, at time.Time, attempts int) bool {
	err := d.publishSchedule(ctx, m, env, at, nil)
	switch {
	case err == nil:
		m.Ack()
		return true
	case publish.IsRefused(err):
		env.LastError = fmt.Sprintf("NATS refused the schedule of the next attempt: %v", err)
		reason := dlq.ReasonUnpublishable
		if publish.IsTooLarge(err) {
			reason = dlq.ReasonTooLarge
		}
		env.Attempt = max(attempts, 1)
		d.deadLetter(ctx, m, env, reason, attempts)
	default:
		d.giveBack(m, env, err)
	}
	return false
}

// publishSchedule makes the message come again at a time, with more headers if
// there are any.
func (d *Dispatcher) publishSchedule(ctx context.Context, m *intake.Message, env wire.Envelope, at time.Time, more nats.Header) error {
	h := wire.EventHeaders(m.Msg.Header)
	env.WriteTo(h)
	maps.Copy(h, more)
	// The same schedule published twice replaces itself, and once it has fired
	// it is known by the message that it was made from.
	h[nats.MsgIdHdr] = []string{position(m).HopID()}
	// nats.go's own option truncates to whole seconds.
	h[headerSchedule] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	h[headerScheduleTarget] = []string{d.opts.Names.DueSubject(env.Endpoint)}
	return d.opts.Retries.Publish(ctx, &nats.Msg{
		Subject: d.opts.Names.RetrySubject(env.Endpoint, env.Key),
		Header:  h,
		Data:    m.Msg.Data,
	})
}

// deadLetter publishes the delivery's dead letter and acknowledges the message.
// A letter that finds no room, or is refused, is tried again later: the verdict
// stands, so the endpoint hears nothing of it.
func (d *Dispatcher) deadLetter(ctx context.Context, m *intake.Message, env wire.Envelope, reason dlq.Reason, attempts int) {
	for {
		err := d.opts.Letters.Write(ctx, env, reason, attempts, m.Msg.Header, m.Msg.Data, position(m).HopID())
		if err == nil {
			m.Ack()
			d.metrics.dead.WithLabelValues(env.Endpoint, string(reason)).Inc()
			d.log.Warn("dead letter", zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID),
				zap.String("reason", string(reason)), zap.Int("attempts", attempts),
				zap.Int("status", env.LastStatus), zap.String("error", env.LastError))
			return
		}
		if !errors.Is(err, publish.ErrFull) && !publish.IsRefused(err) {
			d.giveBack(m, env, err)
			return
		}
		d.sampled.Error("the dead letter is not taken; the delivery waits", zap.String("endpoint", env.Endpoint),
			zap.String("id", env.EventID), zap.Error(err))
		// It must not stay in the fast lane: it would hold back the truncation.
		err = d.publishSchedule(ctx, m, env, d.opts.ServerTime().Add(letterWait), dlq.VerdictHeader(reason, attempts))
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

// giveBack leaves the delivery pending after NATS did not take what it was to
// become.
func (d *Dispatcher) giveBack(m *intake.Message, env wire.Envelope, err error) {
	if !errors.Is(err, publish.ErrClosed) && !errors.Is(err, context.Canceled) {
		d.log.Error("delivery stays pending", zap.String("endpoint", env.Endpoint), zap.String("id", env.EventID), zap.Error(err))
	}
	m.Nak()
}

// orphan handles a delivery to an endpoint that is not in the configuration. It
// waits, for other replicas may know the endpoint, and is dead-lettered when
// nobody did for the grace time.
func (d *Dispatcher) orphan(ctx context.Context, dl *delivery, env wire.Envelope) {
	since, err := d.removals.since(ctx, env.Endpoint)
	if err != nil {
		d.log.Error("it is not known since when an endpoint is missing; its delivery waits", zap.String("endpoint", env.Endpoint),
			zap.String("id", env.EventID), zap.Error(err))
		since = time.Now()
	}
	gone := time.Since(since)
	if gone < d.opts.RemovalGrace {
		d.schedule(ctx, dl.msg, env, d.opts.ServerTime().Add(min(orphanWait, d.opts.RemovalGrace-gone)), env.Attempt-1)
		return
	}
	env.LastError = "the endpoint was removed from the configuration"
	d.deadLetter(ctx, dl.msg, env, dlq.ReasonEndpointRemoved, env.Attempt-1)
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
