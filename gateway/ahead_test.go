package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

// What was handed out to a process that died, and was stored while the clock was
// ahead, comes again at once, from each kind of consumer; what was stored at a
// right time is left to its ack wait.
func TestHandedOutAhead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set   time.Duration // of the clock, after the messages were stored
		freed bool
	}{"set back": {-time.Hour, true}, "set back a little": {-time.Second, false}, "right": {0, false}, "set forward": {time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := natstest.Start(t, natstest.Options{}).JetStream()
			names := wire.NewNames("")
			a := &ahead{
				js: js, names: names, log: zap.NewNop(), rounds: 1,
				config: &config.Config{Sources: []config.Source{{Stream: "EVENTS"}}},
				clock:  &servertime.Clock{Shift: func(now time.Time) time.Time { return now.Add(test.set) }},
			}
			const n = 5
			var consumers []jetstream.Consumer
			for _, c := range []struct {
				stream   jetstream.StreamConfig
				consumer jetstream.ConsumerConfig
				subject  string
			}{
				{topology.SourceStream(config.Source{Stream: "EVENTS", Subjects: []string{"events.>"}}, 1, 1<<20), topology.Consumer(names.MatchConsumer(), "", ""), "events.x"},
				{topology.DeliveriesStream(names, 1), topology.DeliverConsumer(names), names.DeliverSubject("a")},
				{topology.RetriesStream(names, 1), topology.DueConsumer(names), names.DueSubject("a")},
				{topology.LanesStream(names, 1), topology.LaneConsumer(names, "a", false), names.LaneSubject("a")},
			} {
				stream, err := js.CreateStream(t.Context(), c.stream)
				if err != nil {
					t.Fatal(err)
				}
				c.consumer.AckWait = time.Hour
				consumer, err := stream.CreateConsumer(t.Context(), c.consumer)
				if err != nil {
					t.Fatal(err)
				}
				for range n {
					if _, err := js.Publish(t.Context(), c.subject, nil); err != nil {
						t.Fatal(err)
					}
				}
				taken := fetch(t, consumer, n)
				if len(taken) != n {
					t.Fatalf("%d of %d were handed out", len(taken), n)
				}
				if err := taken[1].DoubleAck(t.Context()); err != nil { // the others die with their process
					t.Fatal(err)
				}
				consumers = append(consumers, consumer)
			}
			a.clock.Observe(time.Now(), time.Now(), time.Now())
			a.round(t.Context())
			for _, consumer := range consumers {
				want := 0
				if test.freed {
					want = n - 1
				}
				if got := fetch(t, consumer, n); len(got) != want {
					t.Errorf("%s: %d came again, not %d", consumer.CachedInfo().Name, len(got), want)
				}
			}
		})
	}
}

// fetch takes what a consumer hands out within a moment, n messages at most.
func fetch(t *testing.T, c jetstream.Consumer, n int) (out []jetstream.Msg) {
	t.Helper()
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		out = append(out, m)
	}
	return out
}

// Rounds end when nobody knows of a step, and go on for as long as one was.
func TestAheadRounds(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	a := &ahead{js: js, names: wire.NewNames(""), config: &config.Config{}, clock: &servertime.Clock{}, log: zap.NewNop()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing is asked
	a.round(ctx)
	if a.rounds != 0 {
		t.Errorf("%d rounds are left", a.rounds)
	}
	at := time.Now()
	a.clock.Observe(at, at, at)
	a.clock.Observe(at.Add(time.Hour), at, at)
	a.round(ctx)
	if a.rounds != 0 {
		t.Errorf("%d rounds are left after a step forward", a.rounds)
	}
	a.clock.Observe(at, at, at)
	a.round(ctx)
	if want := int(time.Hour/aheadEvery) + aheadRounds - 1; a.rounds != want {
		t.Errorf("%d rounds are left after a step back of an hour, not %d", a.rounds, want)
	}
}
