package subscriber

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// testConsumers makes the consumers that are asked for, and trusts them.
type testConsumers struct {
	js    jetstream.JetStream
	names wire.Names
}

func (c testConsumers) open(ctx context.Context, stream, name, subject string) error {
	_, err := c.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy, AckWait: wire.DeliverAckWait, MaxAckPending: 10_000,
	})
	return err
}

func (c testConsumers) OpenDeliver(ctx context.Context) error {
	return c.open(ctx, c.names.DeliveriesStream(), c.names.DeliverConsumer(), c.names.DeliverSubject("*"))
}

func (c testConsumers) OpenDue(ctx context.Context) error {
	return c.open(ctx, c.names.RetriesStream(), c.names.DueConsumer(), c.names.DueSubject("*"))
}

func (c testConsumers) OpenLane(ctx context.Context, endpoint string, _ bool) error {
	return c.open(ctx, c.names.LanesStream(), c.names.LaneConsumer(endpoint), c.names.LaneSubject(endpoint))
}

func (c testConsumers) LookLane(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error) {
	consumer, err := c.js.Consumer(ctx, c.names.LanesStream(), c.names.LaneConsumer(endpoint))
	if err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}

func (testConsumers) CheckLane(*jetstream.ConsumerInfo, string) error { return nil }
