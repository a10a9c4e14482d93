package dlq

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"fanjet/internal/jsapi"
)

// removers is how many removals are made at once; each is one write of the
// server.
const removers = 16

// removal is a letter that is to be removed; after hears the outcome.
type removal struct {
	seq   uint64
	after func(gone bool, err error)
}

// startRemovers removes the letters that are sent to the returned channel,
// which holds so many. finish closes it and waits for the last one. Removals
// that are still to be made when ctx ends fail.
func (q *Queue) startRemovers(ctx context.Context, room int) (removals chan<- removal, finish func()) {
	work := make(chan removal, room)
	var wg sync.WaitGroup
	for range removers {
		wg.Go(func() {
			for r := range work {
				r.after(q.removePatiently(ctx, r.seq))
			}
		})
	}
	return work, func() {
		close(work)
		wg.Wait()
	}
}

// removePatiently removes a letter, however long the server takes to come back.
func (q *Queue) removePatiently(ctx context.Context, seq uint64) (gone bool, err error) {
	err = q.patiently(ctx, func() error {
		gone, err = q.remove(ctx, seq)
		return err
	})
	return gone, err
}

// deleteLetter is [Queue.remove].
func (q *Queue) deleteLetter(ctx context.Context, seq uint64) (gone bool, err error) {
	err = q.stream.DeleteMsg(ctx, seq)
	if err == nil {
		return false, nil
	}
	// The error for a message that is not there differs between servers alone
	// and in clusters. The leader of the stream is asked: a replica that lags may
	// not have the letter yet, or have it still.
	if _, getErr := q.api.Message(ctx, q.names.DeadLettersStream(), seq); errors.Is(getErr, jsapi.ErrNoMessage) {
		return true, nil
	}
	return false, fmt.Errorf("removing the letter %d: %w", seq, err)
}
