package source

import (
	"context"
	"errors"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// lives are the deliveries that had a schedule, or one that came due, when a matcher took
// over: those of events that it gets again must not get a second life. They are read at
// once, since asking for each costs a round trip.
type lives map[string]struct{} // by key

const (
	// mostLives is how many are read; if there are more, each is asked for.
	mostLives = 100_000
	// lookDue is how many retries that came due are looked through, of all endpoints when
	// a matcher takes over, or of one.
	lookDue = 1024
)

// readLives reads them; nil: there are too many.
func (m *Matcher) readLives(ctx context.Context) (lives, error) {
	api, stream := jsapi.Of(m.opts.JetStream), m.names.RetriesStream()
	subjects, err := api.SubjectsUpTo(ctx, stream, m.names.RetrySubject("*", "*"), mostLives)
	if err != nil || len(subjects) > mostLives {
		return nil, err
	}
	found := make(lives, len(subjects))
	for _, subject := range subjects {
		found[wire.KeyOf(subject)] = struct{}{}
	}
	whole, err := m.eachDue(ctx, "*", func(key string) bool { found[key] = struct{}{}; return true })
	if err != nil || !whole {
		return nil, err
	}
	return found, nil
}

// eachDue calls look for the key of each retry of an endpoint that came due and that
// nobody has settled, until that returns false. whole is false if there were too many.
func (m *Matcher) eachDue(ctx context.Context, endpoint string, look func(key string) bool) (whole bool, err error) {
	from := uint64(1)
	for range lookDue {
		msg, err := jsapi.Of(m.opts.JetStream).Next(ctx, m.names.RetriesStream(), m.names.DueSubject(endpoint), from)
		if errors.Is(err, jsapi.ErrNoMessage) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if header, err := msg.Header(); err == nil && !look(header.Get(wire.HeaderKey)) {
			return true, nil
		}
		from = msg.Sequence + 1
	}
	return false, nil
}
