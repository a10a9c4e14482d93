package subscriber

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/outcome"
)

const (
	// maxAbsurd bounds what of a Retry-After that makes no sense is logged, in bytes.
	maxAbsurd = 64
	// absurdEvery is how often that is logged of an endpoint, at most: the warnings
	// of one do not hide those of another.
	absurdEvery = 10 * time.Second
)

// attempt makes an attempt. settle is called as soon as its result is known.
func (d *Dispatcher) attempt(ctx context.Context, dl *delivery, env *wire.Envelope, settle func(outcome.Result)) {
	d.metrics.inFlight.Inc()
	t := dl.ep.settings()
	t.Attempt(ctx, env, dl.msg.Msg.Header, dl.msg.Msg.Data, func(r outcome.Result) {
		d.metrics.inFlight.Dec()
		d.observe(dl.ep, d.told(dl, env, r), r)
		d.hear(dl, t, env, r)
		settle(r)
	})
}

// told returns the envelope for what is said about an attempt: that of a direct delivery
// is made only where it is needed.
func (d *Dispatcher) told(dl *delivery, env *wire.Envelope, r outcome.Result) *wire.Envelope {
	if x := dl.msg.direct(); x != nil && (r.Class != outcome.Class2xx || d.log.Core().Enabled(zap.DebugLevel)) {
		whole := x.Owner.Envelope()
		return &whole
	}
	return env
}

// hear tells the endpoint what came of an attempt, and acts on what that
// changes.
func (d *Dispatcher) hear(dl *delivery, t *attempt.Target, env *wire.Envelope, r outcome.Result) {
	final := r.Status != 0 && slices.Contains(t.DeadLetterOn, r.Status)
	e := dl.ep
	changes, others, lapsed := e.heard(dl, r, final, env.EventID, time.Now())
	if changes == 0 && others == nil {
		return
	}
	d.divert(others)
	for _, late := range lapsed {
		late.expired = true
		d.beginUnasked(late)
	}
	log := d.log.With(zap.String("endpoint", e.name))
	switch {
	case changes.Has(gate.Opened):
		d.metrics.circuitOpened.WithLabelValues(e.name).Inc()
		log.Warn("circuit is open: the endpoint gets only probes until one succeeds", zap.String("last", r.Short()))
	case changes.Has(gate.ProbeFailed) && !dl.permit.Last:
		log.Info("a probe failed; the circuit stays open", zap.String("last", r.Short()))
	case changes.Has(gate.HalfOpen):
		log.Info("a probe succeeded; the endpoint gets more and more deliveries")
	case changes.Has(gate.Judged):
		log.Info("a probe was refused for its event's sake: the endpoint is there, and gets one delivery at a time at first", zap.Int("status", r.Status))
	case changes.Has(gate.Closed):
		log.Info("circuit is closed: the endpoint is back")
	}
	switch {
	case changes.Has(gate.Refuses):
		log.Warn("the endpoint refuses: one event after the other gets a final answer; it gets one delivery at a time until it accepts one",
			zap.Int("events", gate.RefusedEvents), zap.Int("status", r.Status))
	case changes.Has(gate.Accepts):
		log.Info("the endpoint accepts events again")
	}
	if changes.Has(gate.SaidGone) {
		// At once here, or every other 410 would cost a delivery.
		p := endpoint.Pause{Since: d.opts.ServerTime().UTC(), By: endpoint.PausedByFanjet, Reason: "it answered 410 Gone three times in a row; resume it when it is there again"}
		d.divert(e.pause(&p, time.Now()))
		d.settling.Go(func() { d.storePause(d.work, e.name, p) })
	}
	d.lanes.Look()
}

// observe counts and logs an attempt.
func (d *Dispatcher) observe(ep *member, env *wire.Envelope, r outcome.Result) {
	ep.metrics.attempt(r.Class).Inc()
	if len(r.Resent) > 0 {
		d.noteResends(ep, env, r)
	}
	if r.Class == outcome.ClassInterrupted {
		return
	}
	d.metrics.duration.Observe(r.Took.Seconds())
	if r.Absurd != "" && ep.noteAbsurd(r.Began) {
		d.log.Warn("an absurd Retry-After counts as none", zap.String("endpoint", ep.name), zap.Int("status", r.Status),
			zap.String("value", outcome.Plain(r.Absurd, maxAbsurd)))
	}
	level := zap.InfoLevel
	switch r.Class {
	case outcome.ClassBlocked:
		level = zap.DebugLevel // its dead letter has a line
	case outcome.Class2xx:
		level = zap.DebugLevel
		d.metrics.endToEnd.Observe(d.opts.ServerTime().Sub(env.Accepted).Seconds())
	}
	if entry := d.log.Check(level, "attempt"); entry != nil {
		entry.Write(
			zap.String("endpoint", ep.name), zap.String("id", env.EventID), zap.String("subject", env.Subject),
			zap.String("source", env.Source), zap.Int("attempt", env.Attempt), zap.Int("generation", env.Generation),
			zap.String("class", string(r.Class)), zap.Int("status", r.Status), zap.Duration("took", r.Took),
			zap.String("error", r.Failure()),
		)
	}
}

// noteAbsurd reports whether it is time to log such a Retry-After again.
func (e *member) noteAbsurd(now time.Time) bool {
	last := e.absurd.Load()
	return (last == 0 || now.UnixNano()-last >= int64(absurdEvery)) && e.absurd.CompareAndSwap(last, now.UnixNano())
}

// noteResends counts and logs that a request was sent more than once within one
// attempt: an operator who sees an event twice finds out here.
func (d *Dispatcher) noteResends(ep *member, env *wire.Envelope, r outcome.Result) {
	for _, reason := range r.Resent {
		d.metrics.resends.WithLabelValues(ep.name, reason).Inc()
	}
	d.log.Info("sent again within one attempt", zap.String("endpoint", ep.name), zap.String("id", env.EventID),
		zap.Int("attempt", env.Attempt), zap.Strings("reasons", r.Resent), zap.String("class", string(r.Class)))
}
