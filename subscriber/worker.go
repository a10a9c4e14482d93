package subscriber

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/wire"
)

// workerIdle is how long a worker without work stays, so that its grown stack
// serves the next burst.
const workerIdle = 10 * time.Second

// startWorkers makes start use ctx for what it starts.
func (d *Dispatcher) startWorkers(ctx context.Context) {
	d.spawn = func(dl *delivery) {
		d.workers.Go(func() { d.worker(ctx, dl) })
	}
}

// start gives a delivery that has a slot to an idle worker, or to a new one.
// There are never more workers than messages in the windows.
func (d *Dispatcher) start(dl *delivery) {
	select {
	case d.idle <- dl:
	default:
		d.spawn(dl)
	}
}

func (d *Dispatcher) worker(ctx context.Context, dl *delivery) {
	timer := time.NewTimer(workerIdle)
	defer timer.Stop()
	for {
		for dl != nil {
			d.process(ctx, dl)
			if dl.ep == nil {
				break
			}
			dl = dl.ep.next()
		}
		timer.Reset(workerIdle)
		select {
		case next, ok := <-d.idle:
			if !ok {
				return
			}
			dl = next
		case <-timer.C:
			return
		}
	}
}

// process makes one attempt of a delivery and settles it.
func (d *Dispatcher) process(ctx context.Context, dl *delivery) {
	env, err := wire.ReadEnvelope(dl.msg.Msg.Header)
	if subject := dl.msg.Msg.Subject; err == nil && env.Endpoint != endpointOf(subject) {
		err = fmt.Errorf("%w: a delivery to %s on %s", wire.ErrEnvelope, env.Endpoint, subject)
	}
	reason, attempts := dlq.Verdict(dl.msg.Msg.Header)
	switch {
	case err != nil:
		d.foreign(ctx, dl, err)
	case reason != "" && reason != dlq.ReasonEndpointRemoved: // which may have come back
		d.deadLetter(ctx, dl.msg, env, reason, attempts)
	case dl.ep == nil:
		d.orphan(ctx, dl, env)
	case ctx.Err() != nil:
		dl.msg.Nak()
	default:
		d.metrics.inFlight.Inc()
		dl.ep.attempt(ctx, &env, dl.msg.Msg.Header, dl.msg.Msg.Data, func(r Result) {
			d.metrics.inFlight.Dec()
			d.observe(dl.ep, &env, r)
			d.settle(ctx, dl.msg, dl.ep, env, r)
		})
	}
}

// observe counts and logs an attempt.
func (d *Dispatcher) observe(ep *endpoint, env *wire.Envelope, r Result) {
	ep.metrics.attempts[r.Class].Inc()
	if r.Class == ClassInterrupted {
		return
	}
	d.metrics.duration.Observe(r.Took.Seconds())
	level := zap.InfoLevel
	if r.Class == Class2xx {
		level = zap.DebugLevel
		d.metrics.endToEnd.Observe(d.opts.ServerTime().Sub(env.Accepted).Seconds())
	}
	if entry := d.log.Check(level, "attempt"); entry != nil {
		entry.Write(
			zap.String("endpoint", ep.Name), zap.String("id", env.EventID), zap.String("subject", env.Subject),
			zap.String("source", env.Source), zap.Int("attempt", env.Attempt), zap.Int("generation", env.Generation),
			zap.String("class", string(r.Class)), zap.Int("status", r.Status), zap.Duration("took", r.Took),
			zap.String("error", r.describe()),
		)
	}
}

// position is where the message is stored, for the id of its next hop.
func position(m *intake.Message) wire.Position {
	return wire.Position{Stream: m.Stream, Sequence: m.Sequence, Stored: m.Stored}
}
