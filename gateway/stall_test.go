package gateway

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// A consumer counts as one that stands still when something waits for a while,
// nobody holds anything, and nothing is handed out.
func TestStallIsNoticed(t *testing.T) {
	t.Parallel()
	type look struct {
		pending      uint64
		held         int
		delivered    uint64
		paused, want bool
	}
	for name, looks := range map[string][]look{ // one every 40 s
		"nobody asks":         {{pending: 5}, {pending: 5}, {pending: 6, want: true}, {pending: 6, want: true}},
		"it goes on":          {{pending: 5}, {pending: 5, delivered: 3}, {pending: 5, delivered: 6}, {pending: 5, delivered: 9}},
		"somebody holds some": {{pending: 5, held: 1}, {pending: 5, held: 1}, {pending: 5, held: 1}},
		"nothing waits":       {{}, {}, {}},
		"it is paused":        {{pending: 5, paused: true}, {pending: 5, paused: true}, {pending: 5, paused: true}},
		"it goes on again":    {{pending: 5}, {pending: 5}, {pending: 5, want: true}, {pending: 4, held: 1, delivered: 1}, {pending: 4, delivered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s stalls
			now := time.Unix(0, 0)
			for i, l := range looks {
				err := s.judge(&jetstream.ConsumerInfo{
					Stream: "S", Name: "c", NumPending: l.pending, NumAckPending: l.held, Paused: l.paused,
					Delivered: jetstream.SequenceInfo{Consumer: l.delivered},
				}, now)
				if (err != nil) != l.want {
					t.Errorf("look %d: %v", i, err)
				}
				now = now.Add(40 * time.Second)
			}
		})
	}
}

// All shared consumers are looked at.
func TestStallOfEachConsumer(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	names := wire.NewNames("")
	cfg := &config.Config{Sources: []config.Source{{Stream: "EVENTS", Subjects: []string{"events.>"}}}}
	for _, c := range []struct {
		stream   jetstream.StreamConfig
		consumer jetstream.ConsumerConfig
		subject  string
	}{
		{topology.SourceStream(cfg.Sources[0], 1, 1<<20), topology.MatchConsumer(names), "events.x"},
		{topology.DeliveriesStream(names, 1), topology.DeliverConsumer(names), names.DeliverSubject("a")},
		{topology.RetriesStream(names, 1), topology.DueConsumer(names), names.DueSubject("a")},
	} {
		stream, err := js.CreateStream(t.Context(), c.stream)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.CreateConsumer(t.Context(), c.consumer); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), c.subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	var s stalls
	if err := s.look(t.Context(), js, names, cfg); err != nil {
		t.Errorf("at once: %v", err)
	}
	if len(s.seen) != 3 {
		t.Errorf("it saw %v", s.seen)
	}
	for key, known := range s.seen {
		known.since = known.since.Add(-stalledAfter)
		s.seen[key] = known
	}
	if err := s.look(t.Context(), js, names, cfg); err == nil {
		t.Error("after a while: nothing")
	}
}
