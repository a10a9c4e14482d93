package state

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
)

// What one process wrote, the next one decides by, whichever server of a cluster
// it asks.
func TestStateIsTrueOnEveryServer(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	js := cluster.JetStream()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "fanjet-state", Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	leader, follower := cluster.Lag(js, "KV_fanjet-state", "$KV.fanjet-state.probe")
	at := func(nc *nats.Conn) jetstream.KeyValue {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		kv, err := jsapi.OpenBucket(t.Context(), js, "fanjet-state")
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	writer, reader := at(leader), at(follower)
	ctx := t.Context()
	for n := range 5 {
		by := strconv.Itoa(n)
		mustPause(t, writer, "a")
		if p, err := PauseOf(ctx, reader, "a"); err != nil || p == nil {
			t.Errorf("a is paused: read %+v, %v", p, err)
		}
		mustResume(t, writer, "a")
		if p, err := PauseOf(ctx, reader, "a"); err != nil || p != nil {
			t.Errorf("a is not paused: read %+v, %v", p, err)
		}
		mustPause(t, writer, "a")
		if was, err := ClearPause(ctx, reader, "a"); err != nil || was == nil {
			t.Errorf("a was paused: the pause that ended is %+v, %v", was, err)
		}
		mustPause(t, writer, "a")
		if was, err := SetPause(ctx, reader, "a", pauseOf("bob")); err != nil || was == nil || was.By != "ann" {
			t.Errorf("a is paused by ann: was %+v, %v", was, err)
		}
		mustResume(t, writer, "a")
		if was, err := SetPause(ctx, reader, "a", pauseOf("bob")); err != nil || was != nil {
			t.Errorf("a is not paused: was %+v, %v", was, err)
		}
		mustResume(t, writer, "a")
		if pauses, err := Pauses(ctx, reader); err != nil || len(pauses) != 0 {
			t.Errorf("nothing is paused: %+v, %v", pauses, err)
		}
		// A gateway that starts lets nothing out to what is paused.
		mustPause(t, writer, "a")
		w := newWatched(t, reader)
		if err := w.watch.Load(ctx); err != nil || len(w.names()) != 1 {
			t.Errorf("a is paused: loaded %v, %v", w.names(), err)
		}
		mustResume(t, writer, "a")

		if err := SkipFirst(ctx, writer, "a", by); err != nil {
			t.Fatal(err)
		}
		if got, err := Skipped(ctx, reader, "a"); err != nil || got != by {
			t.Errorf("skipped %q, %v; want %q", got, err, by)
		}
		if err := RecordResume(ctx, writer, "a", Resume{By: by}); err != nil {
			t.Fatal(err)
		}
		if got, err := LastResume(ctx, reader, "a"); err != nil || got == nil || got.By != by {
			t.Errorf("resumed by %+v, %v; want %q", got, err, by)
		}
		// How often the first of a line was attempted.
		value, err := json.Marshal(Head{Delivery: by, Attempt: n + 1})
		if err == nil {
			_, err = writer.Put(ctx, headPrefix+"a", value)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got Head
		if entry, err := reader.Get(ctx, headPrefix+"a"); err != nil || json.Unmarshal(entry.Value(), &got) != nil || got.Attempt != n+1 {
			t.Errorf("the head is %+v, %v; want attempt %d", got, err, n+1)
		}
		// Since when an endpoint is missing.
		removals := func(kv jetstream.KeyValue) *Removals {
			return NewRemovals(kv, time.Now, func(string) bool { return false }, zap.NewNop())
		}
		if _, err := removals(writer).Since(ctx, "gone"); err != nil {
			t.Fatal(err)
		}
		first, err := removals(writer).Since(ctx, "gone") // who made the entry does not know yet when it was stored
		if err != nil {
			t.Fatal(err)
		}
		if again, err := removals(reader).Since(ctx, "gone"); err != nil || !again.Equal(first) {
			t.Errorf("missing since %v, %v; want %v", again, err, first)
		}
		if err := writer.Delete(ctx, removedPrefix+"gone"); err != nil {
			t.Fatal(err)
		}
		if again, err := removals(reader).Since(ctx, "gone"); err != nil || again.Equal(first) {
			t.Errorf("missing since %v, %v, although it was there meanwhile", again, err)
		}
		if err := writer.Delete(ctx, removedPrefix+"gone"); err != nil {
			t.Fatal(err)
		}
	}
}

// A watch may be told late of what is known already, or of nothing at all.
func TestPauseWatchThatLagsBehind(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	w := newWatched(t, kv)
	watch, ctx := w.watch, t.Context()
	entry := func() jetstream.KeyValueEntry {
		t.Helper()
		entries, err := pauseEntries(ctx, kv)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		return entries[0]
	}
	mustPause(t, kv, "a")
	paused := entry()
	mustResume(t, kv, "a")
	resumed := entry()
	if err := watch.Load(ctx); err != nil {
		t.Fatal(err)
	}
	watch.apply(paused)
	watch.apply(nil)
	if got := w.names(); len(got) != 0 {
		t.Errorf("%v are paused by what came late", got)
	}
	mustPause(t, kv, "a")
	watch.apply(resumed)
	watch.apply(entry())
	watch.apply(resumed)
	w.expect("a")
	if err := watch.upToDate(ctx); err != nil {
		t.Fatal(err)
	}
	calls := w.calls
	// The watch says nothing of this.
	mustResume(t, kv, "a")
	if err := watch.upToDate(ctx); err != nil {
		t.Fatal(err)
	}
	w.expect()
	if w.calls != calls+1 {
		t.Errorf("%d changes were told, want 1", w.calls-calls)
	}
}
