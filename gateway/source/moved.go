package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
)

// Somebody can move the consumer of a source forward, with `nats consumer reset`
// for example: its deliveries are counted from 1 again, its ack floor is where it
// was moved to, and what it passed over is neither sent nor settled. An accepted
// event is delivered: so it goes back to the cursor. An operator who wants to
// skip events moves the cursor, with `fanjet events skip`.
//
// A matcher that gets events sees the gap before it handles the first one behind
// it (gaps.go). A consumer that sends nothing any more, because it was moved to
// the end or past it, or while no gateway ran, is found by what it says of itself.

const (
	// consumerEvery is how often a matcher looks where its consumer is.
	consumerEvery = 2 * time.Second
	// returnPause is the time in which it goes back at most once because of that.
	returnPause = 30 * time.Second
	returnRetry = 250 * time.Millisecond
	// resetWait is how long the server may take to move a consumer.
	resetWait = 3 * time.Second
)

// follows reports whether a consumer can have come from the cursor to its ack floor
// by deliveries: at least one for each event in between.
func follows(at *progress, created time.Time, floor jetstream.SequenceInfo) bool {
	return at != nil && at.Created.Equal(created) && at.Delivery > 0 && floor.Stream >= at.Sequence &&
		floor.Consumer >= at.Delivery && floor.Consumer-at.Delivery >= floor.Stream-at.Sequence
}

// suspect reports whether the ack floor of a consumer may be where somebody moved
// it: ahead of all that is known to be handled, and its deliveries count less than
// before, or nothing.
func (m *Matcher) suspect(created time.Time, info *jetstream.ConsumerInfo) bool {
	at, floor := m.cursor.at.Load(), info.AckFloor
	if at != nil && !at.Created.Equal(created) {
		at = nil // of another life
	}
	if floor.Stream <= m.gaps.vouched.Load() || at != nil && floor.Stream <= at.Sequence || follows(at, created, floor) {
		return false
	}
	return floor.Consumer == 0 || at != nil && floor.Consumer < at.Delivery
}

// handled returns the sequence up to which all events of the source are fanned out
// for certain.
func (m *Matcher) handled(created time.Time) uint64 {
	if at := m.cursor.at.Load(); at != nil && at.Created.Equal(created) {
		return at.Sequence
	}
	return 0
}

// passedOver reports whether a consumer that is suspect passes over anything: what
// is stored before its floor, or what will be, when that is past the end.
func (m *Matcher) passedOver(ctx context.Context, stream jetstream.Stream, info *jetstream.ConsumerInfo) (bool, error) {
	past, err := topology.PastEnd(ctx, stream, info)
	if past || err != nil {
		return past, err
	}
	created := stream.CachedInfo().Created
	return m.holds(ctx, max(m.handled(created), m.gaps.vouched.Load())+1, info.AckFloor.Stream+1)
}

// goBack has the consumer begin behind the cursor again, and says so.
func (m *Matcher) goBack(ctx context.Context, created time.Time, movedTo uint64) error {
	from := m.handled(created) + 1
	if err := m.resetTo(ctx, from); err != nil {
		return fmt.Errorf("cannot move the consumer of the source back: %w", err)
	}
	m.log.Error("somebody moved the consumer of the source past events that are still there, or past its end; it goes back for them",
		zap.Uint64("moved_to", movedTo), zap.Uint64("from", from))
	return nil
}

// resetTo has the consumer begin at a sequence. Servers before 2.14 cannot do
// that, and the right may be missing: made anew it begins with the first event that
// is stored, and the cursor says what was fanned out.
func (m *Matcher) resetTo(ctx context.Context, from uint64) error {
	ask, cancel := context.WithTimeout(ctx, resetWait)
	_, err := m.opts.JetStream.ResetConsumerToSequence(ask, m.stream, m.cursor.want.Durable, from)
	cancel()
	if err == nil || ctx.Err() != nil || broker.Transient(err) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) {
		return err
	}
	stream, streamErr := m.opts.JetStream.Stream(ctx, m.stream)
	if streamErr != nil {
		return errors.Join(err, streamErr)
	}
	if consumer, err := stream.Consumer(ctx, m.cursor.want.Durable); err == nil && consumer.CachedInfo().AckFloor.Stream < from {
		return nil // it is there, and only its answer was late
	}
	return topology.ReplaceConsumer(ctx, stream, m.cursor.want)
}

// wasMoved reports whether the source still has events between two that were
// handed out one after the other, with which the consumer began to count anew. If
// so it goes back. It waits until that is known, and done: no event behind the gap
// is handled before.
func (m *Matcher) wasMoved(ctx context.Context, after, before uint64) bool {
	for {
		moved, err := m.returned(ctx, after, before)
		if err == nil || ctx.Err() != nil {
			return moved || err != nil
		}
		m.sampled.Warn("it is not known whether the consumer of the source was moved; newer events wait", zap.Error(err))
		select {
		case <-ctx.Done():
			return true
		case <-time.After(returnRetry):
		}
	}
}

// returned has the consumer go back if the source has anything in between.
func (m *Matcher) returned(ctx context.Context, after, before uint64) (bool, error) {
	ask, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
	defer answered()
	if err := m.cursor.refresh(ask); err != nil {
		return false, err
	}
	created := *m.created.Load()
	next := max(after, m.handled(created)) + 1
	if next >= before {
		return false, nil // another replica had them
	}
	there, err := m.holds(ask, next, before)
	if err != nil || !there {
		return false, err
	}
	return true, m.goBack(ask, created, before)
}

// suspicion is what made a consumer suspect.
type suspicion struct {
	floor   jetstream.SequenceInfo
	handled uint64
}

// consumerWatch looks again and again where the consumer of a source is. It is used
// by one goroutine.
type consumerWatch struct {
	looked, went time.Time
	last         suspicion // the zero value: there was none
}

// watchConsumer looks at the consumer, if it is time to. One that is suspect twice
// in a row, and passes over anything, goes back: once it may have been another
// replica that is about to write the cursor.
func (m *Matcher) watchConsumer(ctx context.Context, created time.Time) error {
	w := &m.watch
	if time.Since(w.looked) < consumerEvery {
		return nil
	}
	w.looked = time.Now()
	before := w.last
	w.last = suspicion{}
	ctx, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
	defer answered()
	if err := m.cursor.refresh(ctx); err != nil {
		return err
	}
	consumer, err := m.opts.JetStream.Consumer(ctx, m.stream, m.cursor.want.Durable)
	if err != nil {
		return nil // who receives from it makes it anew
	}
	info := consumer.CachedInfo()
	if !m.suspect(created, info) {
		return nil
	}
	stream, err := m.opts.JetStream.Stream(ctx, m.stream)
	if err != nil || !stream.CachedInfo().Created.Equal(created) {
		return err
	}
	over, err := m.passedOver(ctx, stream, info)
	if err != nil || !over {
		return err
	}
	w.last = suspicion{info.AckFloor, m.handled(created)}
	if w.last != before || time.Since(w.went) < returnPause {
		return nil
	}
	w.went = time.Now()
	return m.goBack(ctx, created, info.AckFloor.Stream+1)
}
