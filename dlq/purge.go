package dlq

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"
)

// PurgeOptions control a purge.
type PurgeOptions struct {
	DryRun   bool           // count what would be purged
	Rate     float64        // letters a second; 0: as fast as NATS can
	Progress func(Progress) // called a few times a second, from one goroutine
}

// Purge removes the letters that the filter selects for good. Those that arrive
// after it began stay. All letters, or all of an endpoint, go in one step.
func (q *Queue) Purge(ctx context.Context, f Filter, o PurgeOptions) (Outcome, error) {
	if o.DryRun {
		n, err := q.Count(ctx, f)
		return Outcome{Done: n}, err
	}
	if err := f.Validate(); err != nil {
		return Outcome{}, err
	}
	state, err := q.snapshot(ctx, &f)
	if err != nil {
		return Outcome{}, err
	}
	if f.bySubject() && o.Rate == 0 {
		if state.letters == 0 {
			return Outcome{}, nil
		}
		err := q.stream.Purge(ctx, jetstream.WithPurgeSubject(q.subject(&f)), jetstream.WithPurgeSequence(state.last+1))
		if err != nil {
			return Outcome{}, fmt.Errorf("purging the stream %s: %w", q.names.DeadLettersStream(), err)
		}
		return Outcome{Done: int(state.letters)}, nil
	}

	var t tally
	stop := t.report(o.Progress, nil)
	defer stop()
	removals, finish := q.startRemovers(ctx, 0)
	err = q.each(ctx, &f, state, o.Rate, func(l Letter) error {
		after := func(gone bool, err error) {
			switch {
			case err != nil:
				t.failed(l.Seq, l.Endpoint, err)
			case gone:
				t.skipped()
			default:
				t.done()
			}
		}
		select {
		case removals <- removal{seq: l.Seq, after: after}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	finish()
	return t.result(), err
}

// each calls do with every letter of the snapshot, at most so many a second,
// until one fails. The letters wait in memory for a second at the most: another
// replay may take one meanwhile, and its id must still be known when ours
// publishes it again.
func (q *Queue) each(ctx context.Context, f *Filter, state snapshot, perSecond float64, do func(Letter) error) error {
	size, limiter := pageLetters, rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		size = min(max(int(perSecond), 1), pageLetters)
		limiter.SetLimit(rate.Limit(perSecond))
	}
	for l, err := range q.scan(ctx, f, state, size) {
		if err != nil {
			return err
		}
		if err := limiter.Wait(ctx); err != nil {
			return context.Cause(ctx)
		}
		if err := do(l); err != nil {
			return err
		}
	}
	return nil
}
