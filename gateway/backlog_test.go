package gateway

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/config"
	"fanjet/internal/wire"
)

// Before a source drops events that were not fanned out, the gateway says so;
// once they are, it stops.
func TestBacklogWarnsBeforeMaxAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := wire.NewNames("")
	stream, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: names.MatchConsumer(), AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.ErrorLevel)
	b := newBacklog(prometheus.NewRegistry(), w.js, names, &config.Config{Sources: []config.Source{{Stream: "EVENTS"}}}, zap.New(core))
	oldest, pending := b.oldest.WithLabelValues("EVENTS"), b.events.WithLabelValues("EVENTS")

	w.publish("events.x", "1", nil)
	w.publish("events.x", "2", nil)
	b.measure(t.Context())
	if n := testutil.ToFloat64(pending); n != 2 || logs.Len() != 0 {
		t.Errorf("%v pending, %d warnings", n, logs.Len())
	}
	w.waitFor("the first one has an age", func() bool {
		b.measure(t.Context())
		return testutil.ToFloat64(oldest) > 0.3
	})
	// A shorter age makes them old.
	if _, err := w.js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxAge: 10 * time.Second, Duplicates: time.Second}); err != nil {
		t.Fatal(err)
	}
	w.waitFor("it warns, once", func() bool {
		b.measure(t.Context())
		return logs.Len() > 0
	})
	b.measure(t.Context())
	if n := logs.Len(); n != 1 {
		t.Errorf("%d warnings", n)
	}
	batch, err := consumer.Fetch(2)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.measure(t.Context())
	if testutil.ToFloat64(oldest) != 0 || testutil.ToFloat64(pending) != 0 {
		t.Errorf("%v pending, %v s old", testutil.ToFloat64(pending), testutil.ToFloat64(oldest))
	}
}

func TestBacklogCountsEveryStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.hook.block("a")
	w.start()
	for range 3 {
		w.publish("events.x", "{}", nil)
	}
	b := newBacklog(prometheus.NewRegistry(), w.js, w.gw.names, w.cfg, zap.NewNop())
	w.waitFor("three deliveries are pending", func() bool {
		b.measure(t.Context())
		return testutil.ToFloat64(b.deliveries) == 3 && testutil.ToFloat64(b.events.WithLabelValues("EVENTS")) == 0
	})
	release()
	w.delivered("a", 3)
	w.hook.set(func(request) int { return 410 })
	w.publish("events.x", "{}", nil)
	w.waitFor("there is a dead letter and nothing else", func() bool {
		b.measure(t.Context())
		return testutil.ToFloat64(b.letters) == 1 && testutil.ToFloat64(b.deliveries) == 0 && testutil.ToFloat64(b.retries) == 0
	})
}
