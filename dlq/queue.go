package dlq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// ErrNoStream means that the NATS account has no dead-letter queue.
var ErrNoStream = errors.New("there is no dead-letter queue")

// ErrNotFound means that there is no letter with the sequence that was asked
// for.
var ErrNotFound = errors.New("no such dead letter")

// clockSlack is how far the stored times of neighbouring letters may run
// backwards, after another server of a cluster became the stream's leader.
const clockSlack = time.Minute

// Queue is the dead-letter queue of one installation. Its methods may be called
// concurrently.
type Queue struct {
	js     jetstream.JetStream
	api    jsapi.API
	stream jetstream.Stream
	names  wire.Names

	// remove deletes the letter with a sequence; gone means that it was no
	// longer there. Tests set it, the clock and the two constants.
	remove          func(ctx context.Context, seq uint64) (gone bool, err error)
	now             func() time.Time
	patience, grace time.Duration
}

// Open finds the dead-letter queue. It returns [ErrNoStream] when there is
// none: it never creates the stream; and a [wire.NewerError] when it holds what
// only a newer Fanjet reads.
func Open(ctx context.Context, js jetstream.JetStream, names wire.Names) (*Queue, error) {
	stream, err := js.Stream(ctx, names.DeadLettersStream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: the stream %s does not exist; has the gateway ever run against this NATS, with the prefix %q?",
			ErrNoStream, names.DeadLettersStream(), names.Prefix())
	}
	if err != nil {
		return nil, fmt.Errorf("opening the dead-letter stream %s: %w", names.DeadLettersStream(), err)
	}
	if err := wire.CheckStored(names.DeadLettersStream(), stream.CachedInfo().Config.Metadata); err != nil {
		return nil, err
	}
	if !stream.CachedInfo().Config.AllowDirect {
		return nil, fmt.Errorf("%w %s: set its allow_direct to true, as the gateway does when it starts", errNoDirectReads, names.DeadLettersStream())
	}
	q := &Queue{js: js, api: jsapi.Of(js), stream: stream, names: names, now: time.Now, patience: patience, grace: settleGrace}
	q.remove = q.deleteLetter
	return q, nil
}

// snapshot is the state of the stream at the moment when an operation began.
type snapshot struct {
	created time.Time     // of the stream
	last    uint64        // sequence; letters after it are left alone
	letters Counts        // on the subject of the filter's endpoint, or on all
	skew    time.Duration // the server's clock minus ours
}

func (q *Queue) snapshot(ctx context.Context, f *Filter) (snapshot, error) {
	subject := q.subject(f)
	info, err := q.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return snapshot{}, fmt.Errorf("asking for the state of the stream %s: %w", q.names.DeadLettersStream(), err)
	}
	s := snapshot{created: info.Created, last: info.State.LastSeq, letters: make(Counts), skew: time.Until(info.TimeStamp)}
	for subject, n := range info.State.Subjects {
		s.letters[q.endpoint(subject)] += int(n)
	}
	if f.Last > 0 {
		s.last = min(s.last, f.Last)
	}
	return s, nil
}

// subject covers the letters of the filter's endpoint.
func (q *Queue) subject(f *Filter) string {
	if f.Endpoint == "" {
		return q.names.DeadLetterSubject("*")
	}
	return q.names.DeadLetterSubject(f.Endpoint)
}

// endpoint is whose letters are on a subject: all of its end, for the stream takes what
// somebody else publishes, too.
func (q *Queue) endpoint(subject string) string {
	return strings.TrimPrefix(subject, q.names.DeadLetterSubject(""))
}

// List yields the letters that the filter selects, oldest first, with their
// headers and bodies; those that arrive after it began are left out. It ends
// after the first error. A letter by reference comes without a body, see
// [Queue.Resolve].
func (q *Queue) List(ctx context.Context, f Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if err := f.Validate(); err != nil {
			yield(Letter{}, err)
			return
		}
		state, err := q.snapshot(ctx, &f)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		q.scan(ctx, &f, state, pageLetters)(yield)
	}
}

// scan yields the letters of a snapshot, reading pages of the given size.
func (q *Queue) scan(ctx context.Context, f *Filter, state snapshot, size int) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		if len(state.letters) == 0 {
			return
		}
		r := pageRequest{Seq: f.After + 1, Batch: size, MaxBytes: pageBytes}
		if f.Endpoint != "" {
			r.Subject = q.subject(f) // the server's index skips the others
		}
		if !f.Since.IsZero() && f.After == 0 {
			start := f.Since.Add(-clockSlack)
			r.Seq, r.StartTime = 0, &start
		}
		for found := 0; ; {
			letters, done, err := q.page(ctx, r)
			if err != nil {
				yield(Letter{}, err)
				return
			}
			for i := range letters {
				l := letters[i]
				if l.Seq > state.last || !f.Until.IsZero() && l.DeadLettered.After(f.Until.Add(clockSlack)) {
					return
				}
				if !f.match(&l) {
					continue
				}
				found++
				if !yield(l, nil) || found == f.Limit {
					return
				}
			}
			if done || letters[len(letters)-1].Seq >= state.last {
				return
			}
			r.Seq, r.StartTime = letters[len(letters)-1].Seq+1, nil
		}
	}
}

// Get reads the letter with a sequence of the dead-letter stream, or returns
// [ErrNotFound].
func (q *Queue) Get(ctx context.Context, seq uint64) (Letter, error) {
	if seq > 0 {
		letters, _, err := q.page(ctx, pageRequest{Seq: seq, Batch: 1, MaxBytes: pageBytes})
		if err != nil {
			return Letter{}, err
		}
		if len(letters) > 0 && letters[0].Seq == seq {
			return letters[0], nil
		}
	}
	return Letter{}, fmt.Errorf("%w: sequence %d", ErrNotFound, seq)
}

// Counts are numbers of letters by endpoint.
type Counts map[string]int

// Total is the number of letters of all endpoints.
func (c Counts) Total() int {
	n := 0
	for _, of := range c {
		n += of
	}
	return n
}

// Count counts the letters that the filter selects. Without a filter, or with
// an endpoint alone, it reads none of them.
func (q *Queue) Count(ctx context.Context, f Filter) (int, error) {
	counts, err := q.Freeze(ctx, &f)
	return counts.Total(), err
}

// Freeze counts the letters that the filter selects, as [Queue.Count] does, and
// sets its Last so that from now on it selects those and none that arrive later.
func (q *Queue) Freeze(ctx context.Context, f *Filter) (Counts, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	state, err := q.snapshot(ctx, f)
	if err != nil {
		return nil, err
	}
	frozen := f.Last > 0
	f.Last = state.last
	if f.bySubject() && !frozen {
		return state.letters, nil
	}
	counts := make(Counts)
	for l, err := range q.scan(ctx, f, state, pageLetters) {
		if err != nil {
			return nil, err
		}
		counts[l.Endpoint]++
	}
	return counts, nil
}
