package gateway

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// Very many lanes are truncated together, and never beyond what is not settled.
func TestManyLanesAreTruncatedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n, each = 80, 3 // more lanes than are truncated one by one
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("e-%02d", i))
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, names[i]))
	}
	w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: names}}
	w.cfg.Sources = []config.Source{{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: time.Hour}}
	w.start()
	bucket, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := state.SetPause(t.Context(), bucket, name, endpoint.Pause{Since: time.Now(), By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	w.publishMany("events.x", each)
	lanes := w.gw.names.LanesStream()
	w.waitFor("the lanes hold all that did not go out before the pause", func() bool {
		return int(w.messages(lanes))+len(w.hook.all()) >= n*each && w.messages(w.gw.names.DeliveriesStream()) == 0
	})
	// All but one go on. What waits for that one stays, and what is settled before
	// it goes.
	last := names[n-1]
	for _, name := range names[:n-1] {
		if _, err := state.ClearPause(t.Context(), bucket, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names[:n-1] {
		w.delivered(name, each)
	}
	stream, err := w.js.Stream(t.Context(), lanes)
	if err != nil {
		t.Fatal(err)
	}
	waits := each - len(w.hook.got(last))
	held := func() uint64 { return w.subjectCount(stream, w.gw.names.LaneSubject(last)) }
	if got := held(); got != uint64(waits) {
		t.Fatalf("%d deliveries are held, want %d", got, waits)
	}
	if _, err := state.ClearPause(t.Context(), bucket, last); err != nil {
		t.Fatal(err)
	}
	w.delivered(last, each)
	w.waitFor("nothing is left in the lanes", func() bool { return w.messages(lanes) == 0 })
	w.quiet()
	if got := len(w.hook.all()); got != n*each {
		t.Errorf("%d requests for %d deliveries", got, n*each)
	}
}

// subjectCount is how many messages a stream has on a subject.
func (w *world) subjectCount(stream jetstream.Stream, subject string) uint64 {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		w.Fatal(err)
	}
	return info.State.Subjects[subject]
}
