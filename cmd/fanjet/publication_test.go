package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// TestPublicationTellsWhatHappened publishes more than a stream takes.
func TestPublicationTellsWhatHappened(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"events.>"}, MaxMsgs: 3, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := publication{subject: "events.a", header: nats.Header{}, count: 10_000}
	done, err := p.send(t.Context(), js)
	if err == nil || !strings.Contains(err.Error(), "maximum messages exceeded") {
		t.Errorf("send = %v, want what the server said", err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.count != 3 || info.State.Msgs != 3 {
		t.Errorf("%d acknowledged, %d stored, want 3", done.count, info.State.Msgs)
	}
}

func TestPublicationEndsWithItsContext(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first event goes at once, the second one in a thousand hours.
	p := publication{subject: "events.a", header: nats.Header{}, count: 2, rate: 1.0 / 3_600_000}
	sub, err := js.Conn().Subscribe("events.a", func(*nats.Msg) { cancel() })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	done, err := p.send(ctx, js)
	if !errors.Is(err, context.Canceled) || done.count != 1 {
		t.Errorf("send = %d events, %v; want 1 event and that it was canceled", done.count, err)
	}
}
