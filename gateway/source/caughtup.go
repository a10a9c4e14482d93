package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
)

// caughtUp returns an error while the stream may look shorter than it is. A server
// that has just become the leader of a replicated stream, after an election or its
// own restart, counts only what it has applied yet; that must not be taken for a
// stream that lost its end, whose events would all be fanned out again.
func (m *Matcher) caughtUp(ctx context.Context, stream jetstream.Stream) error {
	at := m.cursor.at.Load()
	read := uint64(0)
	if at != nil && at.Created.Equal(stream.CachedInfo().Created) {
		read = at.Sequence
	}
	consumer, err := stream.Consumer(ctx, m.cursor.want.Durable)
	switch {
	case err == nil:
		if info := consumer.CachedInfo(); info.Delivered.Consumer > 0 || info.AckFloor != info.Delivered { // else it was moved there
			read = max(read, info.Delivered.Stream)
		}
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("cannot look at the consumer of the stream %s: %w", m.stream, err)
	}
	info, err := stream.Info(ctx) // after that of the consumer, which goes on
	if err != nil {
		return fmt.Errorf("cannot look at the stream %s: %w", m.stream, err)
	}
	if info.Config.Replicas <= 1 || info.State.LastSeq >= read {
		m.shorter = time.Time{}
		return nil
	}
	if m.shorter.IsZero() {
		m.shorter = time.Now()
	}
	if time.Since(m.shorter) < topology.CatchUp {
		return fmt.Errorf("the stream %s ends at %d, before the event %d that was read already: its server has not caught up", m.stream, info.State.LastSeq, read)
	}
	return nil
}
