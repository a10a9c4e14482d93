package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/failpoint"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// progress is the place in a source stream up to which every event was fanned
// out, as it is stored.
type progress wire.Cursor

// covers reports whether an event of the stream created then was fanned out.
func (p *progress) covers(created time.Time, seq uint64, stored time.Time) bool {
	return p != nil && p.Created.Equal(created) && seq <= p.Sequence && !stored.After(p.Stored)
}

// cursor keeps a copy of a source consumer's ack floor in the state bucket. The
// server does not sync the consumer's own state, so that a power cut can set it
// back to the beginning of a stream that keeps a week.
type cursor struct {
	js     jetstream.JetStream
	state  jetstream.KeyValue
	stream string
	want   jetstream.ConsumerConfig // of the consumer

	at atomic.Pointer[progress]

	// acked, if set, returns when an event of the stream was stored that was acknowledged
	// lately; zero: it does not know.
	acked func(created time.Time, sequence uint64) time.Time

	// vouched, if set, returns up to which sequence no event was passed over, as far
	// as this matcher saw.
	vouched func() uint64

	mu       sync.Mutex
	revision uint64 // of the state's entry; 0: none
}

const (
	// The cursor follows after cursorEvery, and after cursorSoon when many events were
	// settled: of an event that was delivered directly nothing else is stored, so a crash of
	// the server, or a power cut, repeats what came since.
	cursorEvery = 250 * time.Millisecond
	cursorSoon  = 25 * time.Millisecond
	cursorMany  = 128
	// moveEvery is how often it is asked whether the consumer was moved.
	moveEvery = time.Second
)

// load reads the cursor. It must be called before the first event is handled.
func (c *cursor) load(ctx context.Context) error {
	entry, err := c.state.Get(ctx, wire.CursorKey(c.stream))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		c.revision = 0
		c.at.Store(nil)
		return nil
	case err != nil:
		return fmt.Errorf("cannot read the cursor of %s: %w", c.stream, err)
	}
	return c.adopt(entry)
}

// adopt takes over what an entry of the state says. The caller holds mu.
func (c *cursor) adopt(entry jetstream.KeyValueEntry) error {
	p, err := readProgress(entry.Value())
	if err != nil {
		return fmt.Errorf("the cursor of %s is unreadable (key %s of the bucket %s): %w", c.stream, entry.Key(), entry.Bucket(), err)
	}
	c.revision = entry.Revision()
	c.at.Store(&p)
	return nil
}

func readProgress(value []byte) (p progress, err error) {
	err = json.Unmarshal(value, &p)
	return p, err
}

// review compares the cursor, and the ack state of the source's consumer, with
// the stream that is there now. It says what is wrong; empty: nothing. What was
// created again, or lost its end when its server lost power, uses its sequences
// for other events. A cursor that does not fit covers none of them any more.
func (c *cursor) review(ctx context.Context, stream jetstream.Stream) (wrong string, err error) {
	at := c.at.Load()
	if at == nil || at.Sequence == 0 {
		return "", nil
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot compare the cursor with the stream %s: %w", c.stream, err)
	}
	if !at.Created.Equal(info.Created) {
		return CreatedAgain, c.store(ctx, progress{Created: info.Created})
	}
	if at.Sequence <= info.State.LastSeq {
		stored, err := jsapi.StoredTime(ctx, c.js, c.stream, at.Sequence)
		if err != nil || stored.IsZero() || stored.Equal(at.Stored) {
			return "", err
		}
	}
	return WentBack, c.store(ctx, progress{Created: info.Created})
}

// What [cursor.review] finds.
const (
	CreatedAgain = "the stream was created again; what the one before it still held is gone"
	WentBack     = "the stream lost its end, most likely in a power cut, and uses its sequences again"
)

// advance copies the ack floor that the server reports, and returns up to which sequence
// there is nothing more to copy; 0: it is to be called again. It goes only forward: never our own count, for after a restart newer events may come
// first. An acknowledgement that was just sent may not be in it yet.
func (c *cursor) advance(ctx context.Context, created time.Time) (floor uint64, err error) {
	ackFloor, err := ackFloorOf(ctx, c.js, c.stream, c.want)
	if err != nil {
		return 0, err
	}
	floor = ackFloor.Stream
	at := c.at.Load()
	if floor == 0 || at != nil && at.Created.Equal(created) && at.Sequence >= floor {
		return floor, nil
	}
	if c.vouched != nil && floor > c.vouched() && !follows(at, created, ackFloor) {
		return floor, nil // somebody may have moved the consumer
	}
	stored, err := c.storedTime(ctx, created, floor)
	if err != nil || stored.IsZero() {
		return floor, err
	}
	if err := c.store(ctx, progress{Created: created, Sequence: floor, Stored: stored, Delivery: ackFloor.Consumer}); err != nil {
		return 0, err
	}
	if at := c.at.Load(); at == nil || at.Sequence < floor {
		return 0, nil // another replica was faster, with less; the next round compares anew
	}
	return floor, nil
}

// storedTime returns when an event was stored; zero: the stream was created again
// meanwhile, which the matcher will notice, or the event is gone, or not kept once it is
// acknowledged, and cannot be fanned out again.
func (c *cursor) storedTime(ctx context.Context, created time.Time, sequence uint64) (time.Time, error) {
	if c.acked != nil {
		if stored := c.acked(created, sequence); !stored.IsZero() {
			return stored, nil // it is read often: that saves two questions
		}
	}
	stream, err := c.js.Stream(ctx, c.stream)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot read the cursor's event: %w", err)
	}
	if !stream.CachedInfo().Created.Equal(created) {
		return time.Time{}, nil
	}
	return jsapi.StoredTime(ctx, c.js, c.stream, sequence)
}

// refresh adopts a cursor that somebody else wrote meanwhile: another replica, or
// an operator who wants events skipped.
func (c *cursor) refresh(ctx context.Context) error {
	entry, err := c.state.Get(ctx, wire.CursorKey(c.stream))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the cursor of %s: %w", c.stream, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry.Revision() <= c.revision {
		return nil // a replica of the bucket that is behind answered
	}
	return c.adopt(entry)
}

func (c *cursor) store(ctx context.Context, p progress) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.mu.Lock()
	revision := c.revision
	c.mu.Unlock()
	key := wire.CursorKey(c.stream)
	if revision == 0 {
		revision, err = c.state.Create(ctx, key, value) // also where an entry was deleted
	} else {
		revision, err = c.state.Update(ctx, key, value, revision)
	}
	if jsapi.IsConflict(err) {
		return c.load(ctx) // another replica was faster; the next round compares anew
	}
	if err != nil {
		return fmt.Errorf("cannot write the cursor of %s: %w", c.stream, err)
	}
	failpoint.Hit(failpoint.CursorWritten)
	c.mu.Lock()
	c.revision = revision
	c.mu.Unlock()
	c.at.Store(&p)
	return nil
}

// ackFloorOf returns up to where all events of a source are settled, as its
// consumer says.
func ackFloorOf(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig) (jetstream.SequenceInfo, error) {
	consumer, err := js.Consumer(ctx, stream, want.Durable)
	if err != nil {
		return jetstream.SequenceInfo{}, fmt.Errorf("cannot read the ack floor of %s: %w", stream, err)
	}
	info := consumer.CachedInfo() // of just now
	// One that was created by hand to deliver new events only has its floor at
	// the end of the stream, and below it events wait.
	return info.AckFloor, topology.CheckConsumer(info, want)
}
