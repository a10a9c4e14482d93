package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// ReplayOptions control a replay.
type ReplayOptions struct {
	DryRun   bool           // look at the letters, but deliver and remove none
	Rate     float64        // letters a second; 0: as fast as NATS takes them
	InFlight int            // letters published and not yet removed; default 1,000
	Progress func(Progress) // called a few times a second, from one goroutine

	// Refuse says why letters of an endpoint are not to be replayed: they stay, as
	// failures. Optional.
	Refuse func(endpoint string) error
}

// Replay makes a new delivery of every letter that the filter selects, and
// removes the letter once JetStream has acknowledged the delivery. The new
// delivery begins at attempt 1, and its age counts from now; its webhook-id is
// that of the event, as ever. Letters that arrive after the replay began are
// left alone, even when they come of it.
//
// Replays may run at the same time, and one that was interrupted may be run
// again: see the guarantees of the package. When ctx ends, Replay publishes
// nothing more, removes the letters whose deliveries were acknowledged, and
// returns the cause.
//
// A letter that cannot be replayed stays, as a failure of the outcome; the
// others go on. The error is for what stops the whole replay.
func (q *Queue) Replay(ctx context.Context, f Filter, o ReplayOptions) (Outcome, error) {
	if err := f.Validate(); err != nil {
		return Outcome{}, err
	}
	state, err := q.snapshot(ctx, &f)
	if err != nil {
		return Outcome{}, err
	}
	if err := q.checkDeliveries(ctx); err != nil {
		return Outcome{}, err
	}
	deliver := func(l *Letter) (*nats.Msg, error) {
		if o.Refuse != nil {
			if err := o.Refuse(l.Endpoint); err != nil {
				return nil, err
			}
		}
		return q.delivery(ctx, l, state)
	}
	if o.DryRun {
		var t tally
		err := q.each(ctx, &f, state, 0, func(l Letter) error {
			if _, err := deliver(&l); err != nil {
				t.failed(l.Seq, l.Endpoint, err)
			} else {
				t.done()
			}
			return ctx.Err()
		})
		return t.result(), err
	}
	r := q.startRun(ctx, o)
	err = q.each(ctx, &f, state, o.Rate, func(l Letter) error {
		m, err := deliver(&l)
		if err != nil {
			r.failed(l.Seq, l.Endpoint, err)
			return ctx.Err()
		}
		return r.publish(ctx, &l, m)
	})
	r.finish(ctx, err != nil)
	return r.result(), cmp.Or(err, ctx.Err())
}

// checkDeliveries makes sure that somebody takes deliveries: a publisher would
// wait for ever for a stream that was never created. And that they are what this
// program makes.
func (q *Queue) checkDeliveries(ctx context.Context) error {
	stream, err := q.js.Stream(ctx, q.names.DeliveriesStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("the stream %s does not exist, so nothing would deliver the letters; start the gateway first", q.names.DeliveriesStream())
	}
	if err != nil {
		return fmt.Errorf("opening the stream %s: %w", q.names.DeliveriesStream(), err)
	}
	return wire.CheckStored(q.names.DeliveriesStream(), stream.CachedInfo().Config.Metadata)
}

// delivery makes the delivery that a letter becomes.
func (q *Queue) delivery(ctx context.Context, l *Letter, state snapshot) (*nats.Msg, error) {
	if l.Problem != "" {
		return nil, errors.New(l.Problem)
	}
	if err := q.Resolve(ctx, l); err != nil {
		return nil, err
	}
	at := wire.Position{Stream: q.names.DeadLettersStream(), Created: state.created, Sequence: l.Seq, Stored: l.DeadLettered}
	env := wire.Envelope{
		EventID:  l.EventID,
		Key:      wire.Key(wire.KindLetter, at, l.Endpoint),
		Endpoint: l.Endpoint,
		Subject:  l.Subject,
		Source:   l.Source,
		// It is in the server's time: a wrong clock here must not expire the
		// delivery.
		Accepted:   time.Now().Add(state.skew),
		Attempt:    1,
		Generation: l.Generation + 1,
	}
	h := wire.EventHeaders(l.Headers)
	env.WriteTo(h)
	h[nats.MsgIdHdr] = []string{at.HopID()}
	return &nats.Msg{Subject: q.names.DeliverSubject(l.Endpoint), Header: h, Data: l.Data}, nil
}
