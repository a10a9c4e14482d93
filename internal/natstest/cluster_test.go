package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// A cluster keeps what it stored when leaders change and servers are restarted.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t)
	js := c.JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", nil); err != nil {
		t.Fatal(err)
	}
	c.StepDownStream(js, "S")
	c.StepDownConsumer(js, "S", "c")
	for _, s := range c.Servers {
		s.Restart()
		c.Whole()
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != 1 {
		t.Errorf("after the restarts: %+v, %v", info, err)
	}
}
