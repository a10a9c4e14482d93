package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/wire"
)

// An ordered endpoint is always served from its lane, whose consumer hands out
// one delivery at a time. The first of the line is retried in place: the lane
// moves on when it is delivered or dead-lettered. How often it was attempted is
// in the state bucket, because the server's own count is lost in a crash.

const headPrefix = "head." // + endpoint: its head

// head is what is known about the first delivery of an ordered endpoint's line.
type head struct {
	Delivery string    `json:"delivery"` // its key and generation
	Attempt  int       `json:"attempt"`  // number of the next attempt, from 1
	Next     time.Time `json:"next"`     // not before, by the server's clock
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Status   int       `json:"status,omitempty"`
	Error    string    `json:"error,omitempty"`
	// Stands says that its attempts are used up and that the line stands until an
	// operator acts.
	Stands   bool `json:"stands,omitempty"`
	Attempts int  `json:"attempts,omitempty"` // made until then
}

// headWait is how long the line waits when the state bucket cannot be read.
const headWait = 2 * time.Second

func deliveryName(env *wire.Envelope) string { return fmt.Sprintf("%s/%d", env.Key, env.Generation) }

// inPlace makes an attempt of the first delivery of an ordered endpoint's line.
func (d *Dispatcher) inPlace(ctx context.Context, dl *delivery, env wire.Envelope) {
	if dl.head == nil {
		known, err := d.recall(ctx, dl, &env)
		if err != nil {
			d.sampled.Warn("it is not known how often the first delivery of an ordered endpoint was attempted; it waits",
				zap.String("endpoint", env.Endpoint), zap.Error(err))
			d.holdLine(dl, headWait)
			return
		}
		dl.head = &known
	}
	h := dl.head
	if wait := h.Next.Sub(d.opts.ServerTime()); wait > 0 && !h.Stands {
		d.holdLine(dl, wait)
		return
	}
	if h.Stands && d.passOver(ctx, dl, env) {
		return
	}
	env.Attempt, env.FirstAttempt, env.LastAttempt, env.LastStatus, env.LastError = h.Attempt, h.First, h.Last, h.Status, h.Error
	d.attempt(ctx, dl, &env, func(r Result) { d.settleInPlace(ctx, dl, env, r) })
}

// recall returns what the state bucket knows about the delivery. It is asked
// only when somebody may have attempted the delivery before.
func (d *Dispatcher) recall(ctx context.Context, dl *delivery, env *wire.Envelope) (head, error) {
	fresh := head{Delivery: deliveryName(env), Attempt: env.Attempt, First: env.FirstAttempt, Last: env.LastAttempt, Status: env.LastStatus, Error: env.LastError}
	if dl.ep.knowsHead() && dl.msg.Deliveries <= 1 {
		return fresh, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	entry, err := d.opts.State.Get(ctx, headPrefix+env.Endpoint)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return fresh, nil
	case err != nil:
		return head{}, err
	}
	var stored head
	if json.Unmarshal(entry.Value(), &stored) != nil || stored.Delivery != fresh.Delivery || stored.Attempt < 1 {
		return fresh, nil // of a delivery that is settled
	}
	return stored, nil
}

// knowsHead reports whether no attempt of the line's first delivery can have
// been made that is not known here; from then on it is so.
func (e *endpoint) knowsHead() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	knew := e.headKnown
	e.headKnown = true
	return knew
}

// forgetHead notes that the lane is opened anew.
func (e *endpoint) forgetHead() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.headKnown = false
}

// holdLine puts the first delivery back to the head of the line for a while.
func (d *Dispatcher) holdLine(dl *delivery, wait time.Duration) {
	now := time.Now()
	dl.notBefore = now.Add(wait)
	if !dl.ep.putFirst(dl, now) {
		dl.msg.Nak()
	}
}

// settleInPlace does what follows from an attempt of the line's first delivery.
func (d *Dispatcher) settleInPlace(ctx context.Context, dl *delivery, env wire.Envelope, r Result) {
	settings := &dl.ep.settings().Endpoint
	now := d.opts.ServerTime()
	todo := decide(r, &env, settings, now, d.random())
	attempts := env.Attempt
	switch todo.verb {
	case ack:
		dl.msg.Ack()
	case giveBack:
		dl.msg.Nak()
	case postpone:
		d.holdLine(dl, todo.at.Sub(now))
	case reschedule:
		note(&env, r)
		env.Attempt++
		d.remember(ctx, dl, headOf(&env, todo.at))
		dl.ep.metrics.retries.Inc()
		d.holdLine(dl, todo.at.Sub(now))
	case deadLetter:
		note(&env, r)
		if settings.Block && (todo.reason == dlq.ReasonExhausted || todo.reason == dlq.ReasonExpired) {
			h := headOf(&env, now)
			h.Attempt, h.Stands, h.Attempts = 1, true, attempts
			d.remember(ctx, dl, h)
			d.block(ctx, dl, &env, attempts)
			return
		}
		d.settling.Go(func() { d.deadLetter(ctx, dl.msg, env, todo.reason, attempts) })
	}
}

func headOf(env *wire.Envelope, next time.Time) head {
	return head{
		Delivery: deliveryName(env), Attempt: env.Attempt, Next: next,
		First: env.FirstAttempt, Last: env.LastAttempt, Status: env.LastStatus, Error: env.LastError,
	}
}

// remember stores what is known about the line's first delivery. When that
// fails it is known here only, and a crash may repeat an attempt.
func (d *Dispatcher) remember(ctx context.Context, dl *delivery, h head) {
	dl.head = &h
	text, err := json.Marshal(h)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err = d.opts.State.Put(ctx, headPrefix+dl.ep.name, text)
	}
	if err != nil && ctx.Err() == nil {
		d.sampled.Warn("it cannot be stored how often the first delivery of an ordered endpoint was attempted",
			zap.String("endpoint", dl.ep.name), zap.Error(err))
	}
}

// block lets the line stand: it pauses the endpoint until an operator acts.
func (d *Dispatcher) block(ctx context.Context, dl *delivery, env *wire.Envelope, attempts int) {
	p := Pause{
		Since: time.Now().UTC(), By: pausedByUs, Blocked: env.Key,
		Reason: fmt.Sprintf("the first delivery of the line, of event %s, failed %s: %s", env.EventID, plural(attempts, "time"), env.LastError),
	}
	dl.ep.pause(&p, time.Now())
	d.holdLine(dl, 0)
	d.settling.Go(func() { d.storePause(ctx, dl.ep.name, p) })
}

// passOver dead-letters the delivery at which the line stood, if the operator
// who resumed the endpoint wants that. Else it starts anew.
func (d *Dispatcher) passOver(ctx context.Context, dl *delivery, env wire.Envelope) bool {
	h := dl.head
	timed, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	delivery, err := skipped(timed, d.opts.State, env.Endpoint)
	if err != nil {
		d.sampled.Warn("it is not known whether the first delivery is to be passed over; it waits", zap.String("endpoint", env.Endpoint), zap.Error(err))
		d.holdLine(dl, headWait)
		return true
	}
	if delivery != env.Key {
		h.Stands, h.First = false, time.Time{}
		return false
	}
	env.FirstAttempt, env.LastAttempt, env.LastStatus, env.LastError = h.First, h.Last, h.Status, h.Error
	env.Attempt = h.Attempts
	d.settling.Go(func() {
		d.deadLetter(ctx, dl.msg, env, dlq.ReasonExhausted, h.Attempts)
		if err := forgetSkipped(ctx, d.opts.State, env.Endpoint); err != nil && ctx.Err() == nil {
			d.sampled.Warn("the word to pass over a delivery cannot be removed; it does no harm", zap.String("endpoint", env.Endpoint), zap.Error(err))
		}
	})
	return true
}

// drain looks whether older deliveries of endpoints that were made ordered are
// settled. Only then their lanes begin.
func (d *Dispatcher) drain(ctx context.Context) {
	for name, e := range *d.endpoints.Load() {
		e.mu.Lock()
		draining := e.draining
		e.mu.Unlock()
		if !draining || ctx.Err() != nil {
			continue
		}
		left, err := d.olderThanLane(ctx, name)
		if err != nil {
			d.sampled.Warn("cannot look for older deliveries of an ordered endpoint", zap.String("endpoint", name), zap.Error(err))
			return
		}
		if !left {
			e.mu.Lock()
			e.draining = false
			e.mu.Unlock()
		}
	}
}

func (d *Dispatcher) olderThanLane(ctx context.Context, endpoint string) (bool, error) {
	names := d.opts.Names
	for _, q := range []struct{ stream, subject string }{
		{names.DeliveriesStream(), names.DeliverSubject(endpoint)},
		{names.RetriesStream(), names.RetrySubject(endpoint, "*")},
		{names.RetriesStream(), names.DueSubject(endpoint)},
	} {
		info, err := d.lanes.info(ctx, q.stream, q.subject)
		if err != nil || len(info.State.Subjects) > 0 {
			return true, err
		}
	}
	return false, nil
}
