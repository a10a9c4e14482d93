package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/internal/intake"
	"fanjet/internal/natstest"
)

// lookingJS does something before each look at a consumer.
type lookingJS struct {
	jetstream.JetStream
	before func()
}

func (js lookingJS) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	js.before()
	return js.JetStream.Consumer(ctx, stream, name)
}

// Events that somebody else holds are seen even when as many of our own are
// acknowledged while NATS is asked.
func TestOthersAreSeenWhileOursAreAcknowledged(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	js := server.JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}})
	if err != nil {
		t.Fatal(err)
	}
	want := consumerConfig("c", "", "")
	want.AckPolicy, want.AckWait = jetstream.AckExplicitPolicy, time.Minute
	consumer, err := stream.CreateConsumer(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(n int) {
		for range n {
			if _, err := js.Publish(t.Context(), "events", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(2)
	batch, err := consumer.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	var theirs []jetstream.Msg
	for msg := range batch.Messages() {
		theirs = append(theirs, msg)
	}
	if len(theirs) != 2 {
		t.Fatalf("the other one holds %d events, want 2", len(theirs))
	}

	got := make(chan *intake.Message, 10)
	in := intake.New(intake.Options{
		Conn: server.Conn(), Stream: "EVENTS", Consumer: "c",
		Open:   func(context.Context) error { return nil },
		Handle: func(m *intake.Message) { got <- m },
		Beat:   time.Minute,
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); in.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	publish(3)
	ours := []*intake.Message{<-got, <-got, <-got}

	pending := func() int {
		info, err := consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.NumAckPending
	}
	ack := func() {
		for _, m := range ours[:2] {
			m.Ack()
		}
		for pending() != 3 {
			if t.Context().Err() != nil {
				t.Fatal("the acks do not arrive")
			}
		}
	}
	m := &matcher{source: config.Source{Stream: "EVENTS"}, nc: server.Conn(), want: want, in: in, js: lookingJS{js, ack}}
	if any, _, err := m.others(t.Context(), ""); err != nil || !any {
		t.Errorf("others hold events: %v, %v; want true", any, err)
	}
	for _, msg := range theirs {
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.js = js
	if any, settled, err := m.others(t.Context(), ""); err != nil || any || settled != 4 {
		t.Errorf("others hold events: %v, settled up to %d, %v; want false and 4", any, settled, err)
	}
	// What we hold since before another matcher was in between counts as theirs: it
	// may be settled long ago, and would stand for what they hold.
	if any, _, err := m.others(t.Context(), "of another time"); err != nil || !any {
		t.Errorf("others hold events: %v, %v; want true", any, err)
	}
	ours[2].Ack()
}
