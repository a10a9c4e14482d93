package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/config"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

const wentBack = "somebody moved the consumer of the source past events that are still there, or past its end; it goes back for them"

// moveConsumer does what `nats consumer reset` does.
func (w *world) moveConsumer(to uint64) {
	w.Helper()
	if _, err := w.js.ResetConsumerToSequence(w.Context(), "EVENTS", w.gw.names.MatchConsumer(), to); err != nil {
		w.Fatal(err)
	}
}

// numbered publishes events whose bodies are their sequences.
func (w *world) numbered(from, to int) {
	w.Helper()
	for i := from; i <= to; i++ {
		if seq := w.publish("events.x", fmt.Sprint(i), nil); seq != uint64(i) {
			w.Fatalf("event %d has the sequence %d", i, seq)
		}
	}
}

// inOrderOnce checks that an endpoint got each of the numbered events once, in order.
func (w *world) inOrderOnce(endpoint string, first, last int) {
	w.Helper()
	w.delivered(endpoint, last-first+1)
	w.quiet()
	got := w.hook.got(endpoint)
	for i, r := range got {
		if r.body != fmt.Sprint(first+i) {
			w.Errorf("delivery %d is of event %s, want %d", i, r.body, first+i)
		}
	}
	if len(got) != last-first+1 {
		w.Errorf("%d deliveries, want %d", len(got), last-first+1)
	}
}

// cursorReaches waits until the cursor covers an event.
func (w *world) cursorReaches(seq uint64) {
	w.Helper()
	w.waitFor(fmt.Sprintf("the cursor is at %d", seq), func() bool {
		entry, err := w.state().Get(w.Context(), "cursor.EVENTS")
		if err != nil {
			return false
		}
		var p wire.Cursor
		err = json.Unmarshal(entry.Value(), &p)
		return err == nil && p.Sequence == seq
	})
}

// Somebody moves the consumer of a source forward, past events that no matcher has
// seen, and past the end of the stream: while the gateway is stopped, while it
// runs, and while it has nothing to do. Nothing is passed over, nothing comes
// twice, order stays, and nothing is said to have left the stream.
func TestMovedConsumerGoesBack(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(w *world) *observer.ObservedLogs{
		"over a backlog, while stopped": func(w *world) *observer.ObservedLogs {
			w.stop()
			w.numbered(6, 15)
			w.moveConsumer(12)
			return w.watched()
		},
		"to the end, while stopped": func(w *world) *observer.ObservedLogs {
			w.stop()
			w.numbered(6, 15)
			w.moveConsumer(16)
			return w.watched()
		},
		"past the end, while stopped": func(w *world) *observer.ObservedLogs {
			w.stop()
			w.numbered(6, 10)
			w.moveConsumer(50)
			w.numbered(11, 13)
			logs := w.watched()
			w.numbered(14, 15)
			return logs
		},
		"past the end, with nothing behind the cursor": func(w *world) *observer.ObservedLogs {
			w.stop()
			w.moveConsumer(50)
			logs := w.watched()
			w.numbered(6, 15)
			return logs
		},
		"past the end, while it runs": func(w *world) *observer.ObservedLogs {
			logs := w.again()
			w.moveConsumer(1000)
			w.numbered(7, 15)
			return logs
		},
		"over a backlog, while it runs": func(w *world) *observer.ObservedLogs {
			logs := w.again()
			w.pauseMatching(time.Hour)
			w.numbered(7, 15)
			w.moveConsumer(12)
			w.pauseMatching(-time.Hour)
			return logs
		},
		"over a backlog, to its end, while it runs": func(w *world) *observer.ObservedLogs {
			logs := w.again()
			w.pauseMatching(time.Hour)
			w.numbered(7, 15)
			w.moveConsumer(16)
			w.pauseMatching(-time.Hour)
			return logs
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.endpoints(endpointFor(t, w.hook, "a", ordered))
			w.start()
			w.numbered(1, 5)
			w.delivered("a", 5)
			w.quiet()
			w.cursorReaches(5)
			logs := move(w)
			w.inOrderOnce("a", 1, 15)
			if n := logs.FilterMessage(wentBack).Len(); n != 1 {
				t.Errorf("it was said %d times that the consumer was moved: %v", n, logs.All())
			}
			if n := w.missed(); n != 0 || logs.FilterMessage(leftTheStream).Len() != 0 || logs.FilterMessage("the source stream is not what it was").Len() != 0 {
				t.Errorf("%v events are said to have left the stream: %v", n, logs.All())
			}
			w.cursorReaches(15)
			w.numbered(16, 17)
			w.inOrderOnce("a", 1, 17)
			w.cursorReaches(17)
		})
	}
}

// again runs another gateway until it has matched an event, the sixth one.
func (w *world) again() *observer.ObservedLogs {
	w.Helper()
	w.stop()
	logs := w.watched()
	w.numbered(6, 6)
	w.delivered("a", 6)
	w.cursorReaches(6)
	return logs
}

// pauseMatching lets the consumer of the source rest for a while; negative: it goes
// on.
func (w *world) pauseMatching(d time.Duration) {
	w.Helper()
	if _, err := w.js.PauseConsumer(w.Context(), "EVENTS", w.gw.names.MatchConsumer(), time.Now().Add(d)); err != nil {
		w.Fatal(err)
	}
}

// The consumer is moved while it hands out a backlog: the matcher sees that before
// it handles the first event behind the gap, and its cursor does not follow.
func TestConsumerMovedUnderWay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ before int }{"from the first event on": {0}, "later": {20}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// One event at a time, so that a backlog lasts.
			if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{
				Name: "EVENTS", Subjects: []string{"events.>"}, ConsumerLimits: jetstream.StreamConsumerLimits{MaxAckPending: 1},
			}); err != nil {
				t.Fatal(err)
			}
			w.cfg.Sources = []config.Source{{Stream: "EVENTS"}}
			w.endpoints(endpointFor(t, w.hook, "a"))
			logs := w.watched()
			const n = 1000
			for i := range tt.before {
				w.publish("events.first", fmt.Sprint(i), nil)
			}
			w.delivered("a", tt.before)
			w.publishMany("events.x", n-tt.before)
			w.moveConsumer(n - 10)
			w.delivered("a", n)
			w.cursorReaches(n)
			w.quiet()
			w.exactly("a", n)
			if said := logs.FilterMessage(wentBack).Len(); said != 1 || w.missed() != 0 {
				t.Errorf("it was said %d times that the consumer was moved; %v events are missed: %v", said, w.missed(), logs.All())
			}
		})
	}
}

// Of what the consumer was moved over, what has left the stream is counted, and the
// rest is delivered.
func TestMovedConsumerCountsWhatLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a", ordered))
	w.start()
	w.numbered(1, 5)
	w.delivered("a", 5)
	w.cursorReaches(5)
	w.stop()
	w.numbered(6, 15)
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(8)); err != nil {
		t.Fatal(err)
	}
	w.moveConsumer(12)
	logs := w.watched()
	w.delivered("a", 13)
	w.quiet()
	if n := w.missed(); n != 2 {
		t.Errorf("%v events are counted as missed, want the two that were purged", n)
	}
	if n := logs.FilterMessage(wentBack).Len(); n != 1 {
		t.Errorf("it was said %d times that the consumer was moved", n)
	}
	if n := len(w.hook.all()); n != 13 {
		t.Errorf("%d requests", n)
	}
}

// A gateway that may not move a consumer, or whose server cannot, makes it anew: the
// cursor says what was fanned out.
func TestMovedConsumerIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.nats = natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "secret"},
			{Username: "gateway", Password: "secret", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.RESET.>"}},
			}},
		}
		o.NoAuthUser = "all"
	}})
	w.js = w.nats.JetStream()
	w.cfg.NATS.URL = strings.Replace(w.nats.URL(), "nats://", "nats://gateway:secret@", 1)
	w.endpoints(endpointFor(t, w.hook, "a", ordered))
	w.start()
	w.numbered(1, 5)
	w.delivered("a", 5)
	w.cursorReaches(5)
	w.stop()
	w.numbered(6, 10)
	w.moveConsumer(9)
	logs := w.watched()
	w.inOrderOnce("a", 1, 10)
	w.cursorReaches(10)
	w.stop() // before its server
	if n := logs.FilterMessage(wentBack).Len(); n != 1 || w.missed() != 0 {
		t.Errorf("%v missed; %v", w.missed(), logs.All())
	}
}

// With two replicas the one that has nothing to do does no harm.
func TestMovedConsumerOfTwoReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	core, logs := observer.New(zap.WarnLevel)
	second, err := New(Options{Config: w.cfg, Log: zap.New(core), Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	stop := w.launch(second)
	defer stop()
	w.numbered(1, 5) // which one of them matches
	w.delivered("a", 5)
	w.cursorReaches(5)
	w.moveConsumer(1000)
	w.numbered(6, 15)
	w.delivered("a", 15)
	w.cursorReaches(15)
	w.quiet()
	w.exactly("a", 15)
	if n := logs.FilterMessage(leftTheStream).Len(); n != 0 {
		t.Errorf("events are said to have left the stream: %v", logs.All())
	}
}
