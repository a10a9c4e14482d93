package topology

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Limits for the consumers of our own streams would remove ours while no gateway
// runs, or hold them up.
func TestTopologyRemovesConsumerLimitsOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.create(jetstream.StreamConfig{
		Name: "FANJET_DELIVERIES", Subjects: []string{"fanjet.deliver.*"},
		ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: time.Hour, MaxAckPending: 10},
	})
	f.mustEnsure()
	if limits := f.stream("FANJET_DELIVERIES").Config.ConsumerLimits; limits != (jetstream.StreamConsumerLimits{}) {
		t.Errorf("limits for consumers: %+v", limits)
	}
	consumer, err := f.js.Consumer(t.Context(), "FANJET_DELIVERIES", "fanjet-deliver")
	if err != nil {
		t.Fatal(err)
	}
	if c := consumer.CachedInfo().Config; c.InactiveThreshold != 0 || c.MaxAckPending != deliverMaxAckPending {
		t.Errorf("the consumer: %+v", c)
	}
}
