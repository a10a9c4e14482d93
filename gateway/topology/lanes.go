package topology

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

const (
	// maxLanes bounds the consumers of the lane stream. Left out, it would be
	// the server's default of 1,000.
	maxLanes = 100_000

	// laneMaxAckPending bounds what all replicas hold of one lane together.
	laneMaxAckPending = 4096
)

// LanesStream holds what waits for endpoints that cannot be served with the
// others. Each lane is truncated below the ack floor of its own consumer.
func LanesStream(names wire.Names, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               names.LanesStream(),
		Description:        "Fanjet: deliveries that wait in the lanes of their endpoints",
		Subjects:           []string{names.LaneSubject("*")},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         hopWindow,
		MaxConsumers:       maxLanes,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// LaneConsumer hands the deliveries of one lane to the replicas. An
// ordered one hands out the next when the one before is settled.
func LaneConsumer(names wire.Names, endpoint string, ordered bool) jetstream.ConsumerConfig {
	c := Consumer(names.LaneConsumer(endpoint), "Fanjet: the lane of "+endpoint, names.LaneSubject(endpoint))
	c.AckWait = wire.DeliverAckWait
	c.MaxAckPending = laneMaxAckPending
	if ordered {
		c.MaxAckPending = 1
	}
	return c
}

// LookLane returns what the consumer of a lane is like; an error when its ack
// floor cannot be trusted.
func LookLane(ctx context.Context, js jetstream.JetStream, names wire.Names, endpoint string) (*jetstream.ConsumerInfo, error) {
	consumer, err := js.Consumer(ctx, names.LanesStream(), names.LaneConsumer(endpoint))
	if err != nil {
		return nil, err
	}
	info := consumer.CachedInfo() // of just now
	return info, CheckLane(names, info, endpoint)
}

// CheckLane reports why the ack floor of a lane's consumer cannot be trusted.
func CheckLane(names wire.Names, info *jetstream.ConsumerInfo, endpoint string) error {
	return CheckConsumer(info, LaneConsumer(names, endpoint, false))
}
