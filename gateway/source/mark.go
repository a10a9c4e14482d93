package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/failpoint"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

const (
	// markAhead is how many events the mark is ahead of those that are handled, at most:
	// so many are stored after a crash.
	markAhead = 2 * topology.MatchWindow
	// markRetry is the wait before a mark that could not be written is tried again, and
	// markWait how long an event waits for it.
	markRetry = 100 * time.Millisecond
	markWait  = 5 * time.Second
	// claimEvery is how often it is tried to claim it.
	claimEvery = 5 * time.Second
	// claimLost is the same after somebody else claimed it.
	claimLost = 30 * time.Second
)

// mark is up to which event of a source any may have been handled by now, as the state
// bucket has it. A crash makes a server forget that it handed an event out, and what was
// stored of its deliveries: so what is not above the mark is handled as an event that
// comes again, see [Matcher.fanOutAgain].
//
// It is raised ahead of the events, and off their path. It belongs to the matcher that
// wrote it last: who takes over claims it first, and the one before, which cannot raise
// it any more, delivers nothing directly from then on.
type mark struct {
	state  jetstream.KeyValue
	stream string
	nc     *nats.Conn
	log    *zap.Logger

	by    string        // who this is
	owned atomic.Bool   // it was written by us, as far as we know
	limit atomic.Uint64 // what is not above may have been handled before
	upto  atomic.Uint64 // what is stored

	mu       sync.Mutex
	value    wire.Mark
	revision uint64
	raised   chan struct{}  // closed when the raise that is under way ends; nil: none is
	claims   int            // how often it was to be claimed
	lost     bool           // somebody took over
	tried    time.Time      // when it was to be claimed, or when it was lost
	begun    sync.WaitGroup // claims and raises in the background
}

// again reports whether an event may have been handled before.
func (k *mark) again(sequence uint64) bool { return !k.owned.Load() || sequence <= k.limit.Load() }

// reached is how far a source's events came, as its stream and its consumer say.
type reached struct {
	last uint64 // sequence of the last event; none above it was handled
	sent uint64 // up to which others got them, or a lower one
}

// claim makes the mark ours, for a stream that was created then, and of which the event
// with the sequence from is handled now. handled returns up to which sequence events may
// have been handled, whatever the mark says; all up to the last have been if nobody has written
// a mark yet, unless fresh. Until it succeeds every event counts as one that comes again.
func (k *mark) claim(ctx context.Context, created time.Time, from uint64, fresh bool, handled func(context.Context) (reached, error)) {
	k.owned.Store(false)
	if err := k.tryClaim(ctx, created, from, fresh, handled); err != nil && ctx.Err() == nil {
		k.log.Warn("it cannot be stored which events are handled here; none is delivered directly for now", zap.Error(err))
	}
}

func (k *mark) tryClaim(ctx context.Context, created time.Time, from uint64, fresh bool, handled func(context.Context) (reached, error)) error {
	ctx, cancel := context.WithTimeout(ctx, markWait)
	defer cancel()
	ctx, answered := jsapi.WhileConnected(ctx, k.nc)
	defer answered()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = false
	k.claims++
	defer func() { k.tried = time.Now() }() // it may have taken long
	known, err := handled(ctx)
	if err != nil {
		return err
	}
	last := known.last
	err = jsapi.Change(ctx, k.state, wire.MarkKey(k.stream), func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		limit := last
		next := wire.Mark{Created: created, UpTo: from + markAhead, By: k.by}
		switch was, err := readMark(before); {
		case err != nil:
			return jsapi.Leave, nil, err
		case was != nil && was.Created.Equal(created):
			// A gateway of an earlier version, which knows of no mark, may have handled more:
			// what the consumer handed out, and as much as its server can have forgotten.
			upto := was.UpTo
			if known.sent > upto {
				upto = known.sent + topology.MatchWindow
			}
			limit = min(upto, last)
			next.UpTo = max(next.UpTo, was.UpTo)
		case fresh:
			limit = 0
		default:
			next.UpTo = max(next.UpTo, last)
		}
		k.value = next
		k.limit.Store(limit)
		value, err := json.Marshal(next)
		return jsapi.Write, value, err
	})
	if err != nil {
		return err
	}
	entry, err := k.state.Get(ctx, wire.MarkKey(k.stream))
	if err != nil {
		return err
	}
	if now, err := readMark(entry); err != nil || *now != k.value {
		return errors.Join(err, errors.New("another gateway claimed it at the same time"))
	}
	failpoint.Hit(failpoint.MarkStored)
	k.revision = entry.Revision()
	k.upto.Store(k.value.UpTo)
	k.owned.Store(true)
	return nil
}

// readMark returns what an entry of the bucket says; nil: there is none.
func readMark(entry jetstream.KeyValueEntry) (*wire.Mark, error) {
	if entry == nil {
		return nil, nil
	}
	var m wire.Mark
	if err := json.Unmarshal(entry.Value(), &m); err != nil {
		return nil, fmt.Errorf("the mark is unreadable (key %s of the bucket %s): %w", entry.Key(), entry.Bucket(), err)
	}
	m.Created = m.Created.UTC()
	return &m, nil
}

// isFree reports whether the mark should be ours and is not, and may be claimed again.
// Events come here: so who took over has lost them again, even if nobody said so.
func (k *mark) isFree(now time.Time) bool {
	if k.owned.Load() || !k.mu.TryLock() { // it is being claimed
		return false
	}
	defer k.mu.Unlock()
	wait := claimEvery
	if k.lost {
		wait = claimLost
	}
	return now.Sub(k.tried) >= wait
}

// reach makes sure that the mark is not below an event that is handled now. It waits for
// that only if NATS takes no write for the time in which thousands of events come, or
// the stream has a gap as large.
func (k *mark) reach(ctx context.Context, sequence uint64) {
	if !k.owned.Load() || sequence+markAhead/2 < k.upto.Load() {
		return
	}
	raised := k.raiseTo(ctx, sequence+markAhead)
	if sequence <= k.upto.Load() {
		return
	}
	timer := time.NewTimer(markWait)
	defer timer.Stop()
	for k.owned.Load() && sequence > k.upto.Load() {
		select {
		case <-raised:
			if k.owned.Load() && sequence > k.upto.Load() { // it was not as high, or failed
				raised = k.raiseTo(ctx, sequence+markAhead)
			}
		case <-ctx.Done():
			return
		case <-timer.C:
			k.owned.Store(false) // it is claimed again
			k.log.Warn("NATS does not take up to where events are handled here; none is delivered directly for now")
			return
		}
	}
}

// raiseTo begins to store a higher mark, unless that is under way for one. What it
// returns is closed when that ended.
func (k *mark) raiseTo(ctx context.Context, upto uint64) (ended <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raised == nil {
		k.raised = make(chan struct{})
		value, revision, claims := k.value, k.revision, k.claims
		value.UpTo = max(value.UpTo, upto)
		k.begun.Go(func() { k.raise(ctx, value, revision, claims) })
	}
	return k.raised
}

// raise stores a higher mark. It ends early when somebody else has claimed it.
func (k *mark) raise(ctx context.Context, next wire.Mark, revision uint64, claims int) {
	timed, cancel := context.WithTimeout(ctx, markWait)
	defer cancel()
	revision, err := k.store(timed, next, revision)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.claims != claims: // it was claimed anew meanwhile, which says more
	case err == nil:
		failpoint.Hit(failpoint.MarkStored)
		k.value, k.revision = next, revision
		k.upto.Store(next.UpTo)
	case errors.Is(err, errTakenOver):
		k.owned.Store(false)
		k.lost, k.tried = true, time.Now()
		k.log.Info("another gateway handles the events of the source now; none is delivered directly here")
	case ctx.Err() == nil:
		k.log.Warn("up to where events are handled here cannot be stored", zap.Error(err))
	}
	close(k.raised)
	k.raised = nil
}

// store writes a mark that is ours, and returns its revision. It tries until ctx ends.
func (k *mark) store(ctx context.Context, next wire.Mark, revision uint64) (uint64, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return 0, err
	}
	for {
		now, err := k.state.Update(ctx, wire.MarkKey(k.stream), value, revision)
		if err == nil {
			return now, nil
		}
		if jsapi.IsConflict(err) {
			// Ours, and its answer was lost; or somebody took over.
			entry, failed := k.state.Get(ctx, wire.MarkKey(k.stream))
			var there *wire.Mark
			if failed == nil {
				there, failed = readMark(entry)
			}
			switch {
			case failed == nil && *there == next:
				return entry.Revision(), nil
			case failed == nil:
				return 0, errTakenOver
			}
		}
		select {
		case <-time.After(markRetry):
		case <-ctx.Done():
			return 0, errors.Join(err, ctx.Err())
		}
	}
}

var errTakenOver = errors.New("another gateway handles the events of the source now")
