package source

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
)

// matcherOf returns a matcher that can ask NATS about a source with some events,
// and the source and its consumer.
func matcherOf(t *testing.T, want jetstream.ConsumerConfig, events int, body []byte) (*Matcher, jetstream.Stream, jetstream.Consumer) {
	t.Helper()
	server := natstest.Start(t, natstest.Options{})
	js := server.JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	for range events {
		if _, err := js.Publish(t.Context(), "events", body); err != nil {
			t.Fatal(err)
		}
	}
	return &Matcher{opts: Options{Conn: server.Conn(), JetStream: js}, stream: "EVENTS", cursor: &cursor{want: want}}, stream, consumer
}

// What a matcher asks NATS after a takeover: up to which event all are settled,
// and whether there are any in between.
func TestWhatIsBetween(t *testing.T) {
	t.Parallel()
	want := topology.Consumer("c", "", "")
	want.AckWait = time.Minute
	m, stream, consumer := matcherOf(t, want, 9, nil)
	settled := func(want uint64) {
		t.Helper()
		if got, err := m.settled(t.Context()); err != nil || got != want {
			t.Errorf("settled up to %d, %v; want %d", got, err, want)
		}
	}
	holds := func(from, before uint64, want bool) {
		t.Helper()
		if got, err := m.holds(t.Context(), from, before); err != nil || got != want {
			t.Errorf("from %d on and before %d: %v, %v; want %v", from, before, got, err, want)
		}
	}

	settled(0)
	batch, err := consumer.Fetch(4)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for msg := range batch.Messages() {
		if n++; n == 3 {
			continue // it is still being published by somebody
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	settled(2)
	holds(3, 4, true)
	holds(3, 5, true)
	for _, seq := range []uint64{3, 4, 5} {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	holds(3, 6, false)
	holds(3, 7, true)
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(3, 9, false)
	holds(3, 10, true) // the server does not know yet of what it sent

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.settled(ctx); err == nil {
		t.Error("no error after the end")
	}
	if _, err := m.holds(ctx, 1, 2); err == nil {
		t.Error("no error after the end")
	}
}
