package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/wire"
)

// ownConsumers implements [subscriber.Consumers]: it opens the consumers of Fanjet's
// own streams as the topology wants them.
type ownConsumers struct {
	js    jetstream.JetStream
	names wire.Names
	log   *zap.Logger

	mu   sync.Mutex
	past map[string]time.Time // consumers that look as if they were past the end, since when
}

// OpenDeliver opens the consumer of the log.
func (o *ownConsumers) OpenDeliver(ctx context.Context) error {
	return o.open(ctx, o.names.DeliveriesStream(), topology.DeliverConsumer(o.names))
}

// OpenDue opens the consumer of the retries that are due.
func (o *ownConsumers) OpenDue(ctx context.Context) error {
	return o.open(ctx, o.names.RetriesStream(), topology.DueConsumer(o.names))
}

// OpenLane opens the consumer of a lane.
func (o *ownConsumers) OpenLane(ctx context.Context, endpoint string, ordered bool) error {
	return o.open(ctx, o.names.LanesStream(), topology.LaneConsumer(o.names, endpoint, ordered))
}

// LookLane looks at the consumer of a lane, which may not be there.
func (o *ownConsumers) LookLane(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error) {
	return topology.LookLane(ctx, o.js, o.names, endpoint)
}

// CheckLane reports why the ack floor of a lane's consumer cannot be trusted.
func (o *ownConsumers) CheckLane(info *jetstream.ConsumerInfo, endpoint string) error {
	return topology.CheckLane(o.names, info, endpoint)
}

// open finds or makes a consumer. One that is past the end of its stream is made
// anew: what is still stored is delivered once more.
func (o *ownConsumers) open(ctx context.Context, name string, want jetstream.ConsumerConfig) error {
	stream, err := o.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("cannot open the stream %s: %w", name, err)
	}
	consumer, err := topology.OpenConsumer(ctx, stream, want)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	past, err := topology.PastEnd(ctx, stream, info)
	if err != nil {
		return err
	}
	if !o.believe(want.Durable, past, stream.CachedInfo().Config.Replicas) {
		if past {
			return fmt.Errorf("%w; it is made anew unless its server only has to catch up", topology.ErrPastEnd(info))
		}
		return nil
	}
	o.log.Error("a consumer is past the end of its stream, which lost its end; it is made anew, and what is stored is delivered once more",
		zap.String("stream", name), zap.String("consumer", want.Durable), zap.Uint64("at", info.Delivered.Stream))
	return topology.ReplaceConsumer(ctx, stream, want)
}

// believe reports whether a consumer is past the end for certain: see
// [topology.CatchUp].
func (o *ownConsumers) believe(consumer string, past bool, replicas int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !past {
		delete(o.past, consumer)
		return false
	}
	since, known := o.past[consumer]
	if !known {
		since = time.Now()
		if o.past == nil {
			o.past = make(map[string]time.Time)
		}
		o.past[consumer] = since
	}
	if replicas > 1 && time.Since(since) < topology.CatchUp {
		return false
	}
	delete(o.past, consumer)
	return true
}
