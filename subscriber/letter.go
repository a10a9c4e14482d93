package subscriber

import (
	"context"
	"strings"
	"time"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"

	"go.uber.org/zap"
)

// deadLetter publishes the delivery's dead letter and acknowledges the message.
// A letter that finds no room, or is refused, is tried again later: the verdict
// stands, so the endpoint hears nothing of it.
func (d *Dispatcher) deadLetter(ctx context.Context, m message, env wire.Envelope, reason dlq.Reason, attempts int) {
	for {
		err := d.opts.Letters.Write(ctx, env, reason, attempts, m.Msg.Header, m.Msg.Data, m.hopID())
		if err == nil {
			failpoint.Hit(failpoint.LetterStored)
			m.AckStored()
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
		case err == nil, publish.IsConflict(err): // it has another life already
			m.AckStored()
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

// foreign handles a message on one of our subjects that is no delivery.
func (d *Dispatcher) foreign(ctx context.Context, dl *delivery, err error) {
	d.metrics.foreign.Inc()
	subject := dl.msg.Msg.Subject
	env := wire.Envelope{
		Key:       position(dl.msg).HopID(), // of its schedule, should it need one
		Endpoint:  wire.EndpointOf(subject),
		Subject:   subject,
		Source:    position(dl.msg).Source(),
		Accepted:  dl.msg.Stored,
		LastError: strings.ReplaceAll(err.Error(), "\n", "; "),
	}
	d.deadLetter(ctx, dl.msg, env, dlq.ReasonUnpublishable, 0)
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
