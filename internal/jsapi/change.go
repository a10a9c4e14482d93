package jsapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Decision is what [Change] does to an entry.
type Decision int

// The decisions.
const (
	Leave  Decision = iota // as it is
	Write                  // a value
	Delete                 // the entry, if there is one
)

// The waits of a writer who was not the first, at first and at most.
const (
	changeAgain = 2 * time.Millisecond
	changeMost  = 250 * time.Millisecond
)

// Change changes an entry of a bucket of [OpenBucket] by compare and set. decide
// gets what is stored, nil if nothing is, and says what to do; its error ends the
// change. It is asked again if somebody else was faster, or is at it: a replicated
// stream refuses a second write until it has decided on the first one (10164).
func Change(ctx context.Context, kv jetstream.KeyValue, key string, decide func(before jetstream.KeyValueEntry) (Decision, []byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for wait := changeAgain; ; wait = min(2*wait, changeMost) {
		before, err := kv.Get(ctx, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			before = nil
		case err != nil:
			return fmt.Errorf("cannot read state %s: %w", key, err)
		}
		decision, value, err := decide(before)
		switch {
		case err != nil, decision == Leave, decision == Delete && before == nil:
			return err
		case decision == Delete:
			err = kv.Delete(ctx, key, jetstream.LastRevision(before.Revision()))
		case before == nil:
			_, err = kv.Create(ctx, key, value)
		default:
			_, err = kv.Update(ctx, key, value, before.Revision())
		}
		if err == nil {
			return nil
		}
		if !IsConflict(err) {
			return fmt.Errorf("cannot write state %s: %w", key, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot write state %s: %w", key, err)
		case <-time.After(wait):
		}
	}
}
