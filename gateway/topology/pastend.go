package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// PastEnd reports whether a consumer is past the end of its stream: the stream
// lost its end when its servers lost power, and the consumer did not. It would
// pass over what the stream stores next, and what it says is settled is not. The
// consumer's info must be newer than the stream's.
func PastEnd(ctx context.Context, stream jetstream.Stream, consumer *jetstream.ConsumerInfo) (bool, error) {
	reached := max(consumer.Delivered.Stream, consumer.AckFloor.Stream)
	if reached <= stream.CachedInfo().State.LastSeq {
		return false, nil
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("cannot look at the stream %s: %w", consumer.Stream, err)
	}
	return reached > info.State.LastSeq, nil
}

// ErrPastEnd is why nothing is removed from a stream.
func ErrPastEnd(consumer *jetstream.ConsumerInfo) error {
	return fmt.Errorf("the consumer %s is past the end of the stream %s, which lost its end: what it says is settled is not", consumer.Name, consumer.Stream)
}

// ReplaceConsumer makes a consumer anew that is past the end of its stream.
func ReplaceConsumer(ctx context.Context, stream jetstream.Stream, want jetstream.ConsumerConfig) error {
	err := stream.DeleteConsumer(ctx, want.Durable)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("cannot remove the consumer %s of the stream %s, which is past its end: %w", want.Durable, stream.CachedInfo().Config.Name, err)
	}
	_, err = OpenConsumer(ctx, stream, want)
	return err
}

// CatchUp is how long the leader of a replicated stream may take to show all that
// its cluster holds.
const CatchUp = 20 * time.Second
