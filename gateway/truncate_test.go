package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

// What the truncation removes from the log of deliveries: what its one consumer has
// settled, and nothing else. It must not trust the floor of a consumer that passed
// deliveries over, nor one past the end of the log: what is stored there next would be
// gone before it is delivered.
func TestTruncationRemovesWhatIsSettled(t *testing.T) {
	t.Parallel()
	const stored = 6
	for name, tt := range map[string]struct {
		acked     int
		consumer  func(*jetstream.ConsumerConfig)
		reset     uint64 // where the consumer is moved to; 0: nowhere
		remembers uint64 // what it takes for removed already
		first     uint64 // the first sequence that is left
		wrong     bool
	}{
		"nothing is settled":         {acked: 0, first: 1},
		"some is":                    {acked: 3, first: 4},
		"all is":                     {acked: stored, first: stored + 1},
		"a server that went back":    {acked: 3, remembers: 5, first: 1},
		"what was removed before":    {acked: 3, remembers: 2, first: 4},
		"a consumer of new ones":     {acked: 0, consumer: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy }, first: 1, wrong: true},
		"one that needs no acks":     {acked: 0, consumer: func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckNonePolicy }, first: 1, wrong: true},
		"one of a part of the log":   {acked: 0, consumer: func(c *jetstream.ConsumerConfig) { c.FilterSubject = "fanjet.deliver.b" }, first: 1, wrong: true},
		"a consumer past the end":    {acked: 0, reset: 50, first: 1, wrong: true},
		"a consumer just at the end": {acked: 0, reset: stored + 1, first: stored + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := natstest.Start(t, natstest.Options{}).JetStream()
			names := wire.NewNames("")
			stream, err := js.CreateStream(t.Context(), topology.DeliveriesStream(names, 1))
			if err != nil {
				t.Fatal(err)
			}
			config := topology.DeliverConsumer(names)
			if tt.consumer != nil {
				tt.consumer(&config)
			}
			consumer, err := stream.CreateConsumer(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			publish := func(n int) {
				t.Helper()
				for i := range n {
					if _, err := js.Publish(t.Context(), names.DeliverSubject("a"), fmt.Append(nil, i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			publish(stored)
			if tt.acked > 0 {
				batch, err := consumer.Fetch(tt.acked)
				if err != nil {
					t.Fatal(err)
				}
				for m := range batch.Messages() {
					if err := m.DoubleAck(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tt.reset > 0 {
				if _, err := js.ResetConsumerToSequence(t.Context(), names.DeliveriesStream(), names.DeliverConsumer(), tt.reset); err != nil {
					t.Fatal(err)
				}
			}
			truncator := newTruncator(prometheus.NewRegistry(), js, names, new(servertime.Clock), &health{log: zap.NewNop()})
			truncator.purged = tt.remembers
			first := func() uint64 {
				t.Helper()
				info, err := stream.Info(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return info.State.FirstSeq
			}
			for range 2 { // the second time there is nothing to do, or the same is wrong
				if err := truncator.truncate(t.Context()); (err != nil) != tt.wrong {
					t.Errorf("truncating: %v", err)
				}
				if got := first(); got != tt.first {
					t.Errorf("the log begins at %d, want %d", got, tt.first)
				}
			}
			if !tt.wrong {
				return
			}
			// What comes then stays, too.
			publish(2)
			_ = truncator.truncate(t.Context())
			if got := first(); got != tt.first {
				t.Errorf("with more in it the log begins at %d, want %d", got, tt.first)
			}
		})
	}
}

// A log of which more is settled than one purge removes is truncated in several.
func TestTruncationInSteps(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	names := wire.NewNames("")
	config := topology.DeliveriesStream(names, 1)
	config.FirstSeq = 3*truncateStep + 1
	stream, err := js.CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), topology.DeliverConsumer(names))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := js.Publish(t.Context(), names.DeliverSubject("a"), nil); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := consumer.Fetch(2, jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	truncator := newTruncator(prometheus.NewRegistry(), js, names, new(servertime.Clock), &health{log: zap.NewNop()})
	if err := truncator.truncate(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(3*truncateStep + 3); info.State.FirstSeq != want || truncator.purged != want-1 {
		t.Errorf("the log begins at %d, up to %d is removed; want %d", info.State.FirstSeq, truncator.purged, want)
	}
}
