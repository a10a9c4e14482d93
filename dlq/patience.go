package dlq

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// patience is how long a request is tried again while NATS is away: a server
	// that restarts, or a stream that elects a leader, needs seconds.
	patience  = 30 * time.Second
	retryWait = 250 * time.Millisecond
)

// patiently does something until it succeeds, fails with another error than
// those that pass (none: all pass), the patience is at its end, or ctx is.
func (q *Queue) patiently(ctx context.Context, do func() error, passing ...error) error {
	enough := time.Now().Add(q.patience)
	for {
		err := do()
		passes := len(passing) == 0 || slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
		if err == nil || !passes || ctx.Err() != nil || time.Now().After(enough) {
			return err
		}
		select {
		case <-time.After(retryWait):
		case <-ctx.Done():
		}
	}
}
