package topology

import (
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// MatchConsumer hands the events of a source to one matcher at a time.
func MatchConsumer(names wire.Names) jetstream.ConsumerConfig {
	c := Consumer(names.MatchConsumer(), "Fanjet: events to match", "")
	c.AckWait = MatchAckWait
	c.MaxAckPending = MatchWindow
	c.PriorityPolicy = jetstream.PriorityPolicyPinned
	c.PriorityGroups = []string{MatchGroup}
	c.PinnedTTL = matchPinnedTTL
	return c
}

// DeliverConsumer hands first attempts to the replicas.
func DeliverConsumer(names wire.Names) jetstream.ConsumerConfig {
	c := Consumer(names.DeliverConsumer(), "Fanjet: first attempts", names.DeliverSubject("*"))
	c.AckWait = wire.DeliverAckWait
	c.MaxAckPending = deliverMaxAckPending
	return c
}

// DueConsumer hands attempts whose time has come to the replicas. Its
// filter must not cover the schedules themselves.
func DueConsumer(names wire.Names) jetstream.ConsumerConfig {
	c := Consumer(names.DueConsumer(), "Fanjet: attempts that are due", names.DueSubject("*"))
	c.AckWait = wire.DeliverAckWait
	c.MaxAckPending = deliverMaxAckPending
	return c
}

// Consumer is what our consumers have in common. MaxDeliver would park a
// message in silence; attempts are counted in a header instead.
func Consumer(name, description, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       name,
		Description:   description,
		FilterSubject: filter,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		MaxDeliver:    -1,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
	}
}
