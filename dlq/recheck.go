package dlq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fanjet/internal/jsapi"
)

// readFor is how long a letter that was read counts as one that is in the queue.
// Another replay may deliver and remove it at any time. While the duplicates window
// of the deliveries lasts, two minutes, NATS drops what is then published a second
// time; what waited longer, because the process stood still or NATS was away, is
// looked at again before it is published.
const readFor = time.Minute

// old reports whether what was seen at a time has to be looked at again. Both
// clocks count: the monotonic one stands still while the machine sleeps, and the
// other one can be set back.
func old(seen, now time.Time) bool {
	return now.Sub(seen) > readFor || now.Round(0).Sub(seen.Round(0)) > readFor
}

// checkers is how many letters are looked at again at once.
const checkers = 16

// startChecks looks at the letters that come to r.checks, until finish is called,
// which waits for the last one. Nothing may come after that.
func (q *Queue) startChecks(ctx context.Context, r *run) (finish func()) {
	var wg sync.WaitGroup
	for range checkers {
		wg.Go(func() {
			for d := range r.checks {
				q.publishAgain(ctx, d)
			}
		})
	}
	return func() {
		close(r.checks)
		wg.Wait()
	}
}

// publishAgain publishes a delivery that waited too long, if its letter is still
// in the queue.
func (q *Queue) publishAgain(ctx context.Context, d *delivered) {
	asked, here := q.now(), false
	err := q.patiently(ctx, func() (err error) {
		here, err = q.holds(ctx, d.seq, d.stored)
		return err
	})
	if err == nil && here {
		d.seen = asked
		if err = d.run.publisher.Enqueue(ctx, d.message, d); err == nil {
			return
		}
	}
	switch {
	case err == nil:
		d.run.skipped() // and not published by us, or long ago
	case ctx.Err() != nil:
		d.run.failed(d.seq, d.endpoint, errInterrupted)
	default:
		d.run.failed(d.seq, d.endpoint, fmt.Errorf("it waited too long, and whether it is still there is not known: %w", err))
	}
	d.settled()
}

// holds reports whether a letter is in the queue. The leader of the stream answers:
// a direct get may come from a server that lags behind.
func (q *Queue) holds(ctx context.Context, seq uint64, stored time.Time) (bool, error) {
	m, err := q.api.Message(ctx, q.names.DeadLettersStream(), seq)
	if errors.Is(err, jsapi.ErrNoMessage) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the letter %d again: %w", seq, err)
	}
	return m.Time.Equal(stored), nil
}
