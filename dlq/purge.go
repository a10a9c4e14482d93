package dlq

import (
	"context"
	"fmt"

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
	beside := q.startRemover(f.Endpoint)
	if f.bySubject() && o.Rate == 0 {
		n, err := q.purgeUpTo(ctx, q.subject(&f), state.last)
		return beside.end(Outcome{Done: n}), err
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
	return beside.end(t.result()), err
}

// purgeUpTo removes the letters on a subject up to a sequence. nats.go would not
// tell how many those were.
func (q *Queue) purgeUpTo(ctx context.Context, subject string, last uint64) (int, error) {
	if last == 0 {
		return 0, nil
	}
	var answer struct {
		Purged int `json:"purged"`
	}
	request := struct {
		Subject string `json:"filter"`
		Before  uint64 `json:"seq"`
	}{subject, last + 1}
	err := q.api.Ask(ctx, "STREAM.PURGE."+q.names.DeadLettersStream(), request, &answer)
	if err != nil {
		return 0, fmt.Errorf("purging the stream %s: %w", q.names.DeadLettersStream(), err)
	}
	return answer.Purged, nil
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
