package gateway

import (
	"context"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber"
	"fanjet/subscriber/endpoint"
)

// An event that a matcher holds since before an endpoint was made ordered keeps the
// line from beginning, whatever it will become; when it is settled the line begins. An
// endpoint that was ordered from the start does not wait.
func TestHeldEventKeepsTheLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{
		endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "held"), endpointFor(t, w.hook, "line", ordered),
	}
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "held", Subjects: []string{"events.held"}, Endpoints: []string{"held"}},
		{Name: "lines", Subjects: []string{"events.line"}, Endpoints: []string{"a", "line"}},
	}
	var waited atomic.Int64 // looks since an event is held
	w.observed(func(o *subscriber.Options) {
		look := o.Sources
		o.Sources = func(ctx context.Context) (map[string]subscriber.Progress, error) {
			at, err := look(ctx)
			if p := at["EVENTS"]; err == nil && p.Settled < p.Last {
				waited.Add(1)
			}
			return at, err
		}
	})
	stream, err := w.js.Stream(t.Context(), w.gw.names.DeliveriesStream())
	if err != nil {
		t.Fatal(err)
	}
	limit := func(bytes int64) {
		t.Helper()
		cfg := stream.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // what is fanned out finds no room: its event is held
	w.publish("events.held", "1", nil)
	next := *w.cfg
	next.Endpoints = slices.Clone(w.cfg.Endpoints)
	next.Endpoints[0].Ordered = true
	if _, err := w.gw.Reload(&next); err != nil {
		t.Fatal(err)
	}
	w.publish("events.line", "2", nil)
	w.delivered("line", 1)
	began := waited.Load()
	w.waitFor("the line was looked at again and again", func() bool { return waited.Load() >= began+4 })
	if n := len(w.hook.got("a")); n != 0 {
		t.Errorf("the line began, with %d deliveries", n)
	}
	limit(-1)
	w.delivered("held", 1)
	w.delivered("a", 1)
}

// Progress is what the leaders say: what is handed out and not acknowledged is not
// settled, and what has left the stream holds up nothing. What is not known of a source
// is an error.
func TestSourcesProgress(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	js, names := s.JetStream(), wire.NewNames("")
	progress := &sourcesProgress{js: js, names: names, sources: []config.Source{{Stream: "EVENTS"}}}
	check := func(what string, last, settled uint64) {
		t.Helper()
		at, err := progress.look(t.Context())
		if want := (subscriber.Progress{Last: last, Settled: settled}); err != nil || len(at) != 1 || at["EVENTS"] != want {
			t.Errorf("%s: %v, %v, want %v", what, at, err, want)
		}
	}
	refused := func(what string) {
		t.Helper()
		if at, err := progress.look(t.Context()); err == nil {
			t.Errorf("%s: %v", what, at)
		}
	}
	refused("no stream")
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
	if err != nil {
		t.Fatal(err)
	}
	refused("no consumer")
	want := topology.MatchConsumer(names)
	other := want
	other.DeliverPolicy = jetstream.DeliverNewPolicy
	if _, err := stream.CreateConsumer(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	refused("a consumer whose floor means something else")
	if err := stream.DeleteConsumer(t.Context(), want.Durable); err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.CreateConsumer(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	check("empty", 0, 0)
	for range 3 {
		if _, err := js.Publish(t.Context(), "events.x", nil); err != nil {
			t.Fatal(err)
		}
	}
	check("nothing is handed out", 3, 0)
	batch, err := consumer.Fetch(2, jetstream.FetchPriorityGroup(topology.MatchGroup), jetstream.FetchMaxWait(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var held []jetstream.Msg
	for m := range batch.Messages() {
		held = append(held, m)
	}
	if len(held) != 2 {
		t.Fatalf("%d messages: %v", len(held), batch.Error())
	}
	ack := func(m jetstream.Msg) {
		t.Helper()
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check("two are held", 3, 0)
	ack(held[1])
	check("the first is held", 3, 0)
	ack(held[0])
	check("both are settled", 3, 2)
	if err := stream.DeleteMsg(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	check("the last one has left the stream", 3, math.MaxUint64)
}
