package subscriber

import (
	"fanjet/subscriber/outcome"
	"testing"
	"time"

	"go.uber.org/zap"
)

// Since when an endpoint is missing is when the server stored the entry, whatever
// the clock of the replica that wrote it said.
func TestRemovalsGoByTheServersClock(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	for name, text := range map[string]string{
		"behind":     time.Now().Add(-11 * time.Minute).UTC().Format(time.RFC3339Nano),
		"ahead":      time.Now().Add(11 * time.Minute).UTC().Format(time.RFC3339Nano),
		"unreadable": "yesterday",
	} {
		if _, err := kv.Create(t.Context(), removedPrefix+name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		entry, err := kv.Get(t.Context(), removedPrefix+name)
		if err != nil {
			t.Fatal(err)
		}
		// This replica's clock, too, is far from the server's.
		r := newRemovals(kv, func() time.Time { return noon }, func(string) bool { return false }, zap.NewNop())
		since, err := r.since(t.Context(), name)
		if err != nil || !since.Equal(entry.Created()) {
			t.Errorf("%s: missing since %v, %v; the server stored the entry at %v", name, since, err, entry.Created())
		}
	}
	r := newRemovals(kv, func() time.Time { return noon }, func(string) bool { return false }, zap.NewNop())
	if since, err := r.since(t.Context(), "new"); err != nil || !since.Equal(noon) {
		t.Errorf("first missed at %v, %v, want %v by the server's clock", since, err, noon)
	}
	if entry, err := kv.Get(t.Context(), removedPrefix+"new"); err != nil || string(entry.Value()) != noon.UTC().Format(time.RFC3339Nano) {
		t.Errorf("the new entry: %v, %v", entry, err)
	}
}

// A replica whose clock is minutes ahead of the server's, or behind, gives up the
// lane of a removed endpoint when the grace time is over by the server's clock.
func TestOrphanedByTheServersClock(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Minute
	local := time.Now()
	for name, ahead := range map[string]time.Duration{"equal": 0, "ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		server := local.Add(-ahead)
		d := &Dispatcher{opts: Options{RemovalGrace: grace, ServerTime: func() time.Time { return server }}}
		d.endpoints.Store(&map[string]*member{})
		l := &lane{d: d, name: "a", count: 1, missing: absence{since: server.Add(-time.Minute), read: server}}
		if is, at := l.ready(local); is || !at.Equal(local.Add(grace-time.Minute)) {
			t.Errorf("%s: missing for a minute: %v, at %v; want %v", name, is, at.Sub(local), grace-time.Minute)
		}
		l.missing = absence{since: server.Add(-grace), read: server}
		if is, _ := l.ready(local); !is {
			t.Errorf("%s: missing for %v, and it still waits", name, grace)
		}
		l.missing = absence{since: server.Add(-grace), read: server.Add(-time.Second)}
		if is, _ := l.ready(local); is {
			t.Errorf("%s: given up without another look", name)
		}
	}
}

// An operator's word counts for what was attempted before it, also by a replica
// whose clock is far ahead, and for nothing that was attempted after it.
func TestResumedSinceByTheServersClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"equal": 0, "ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		d := &Dispatcher{opts: Options{ServerTime: func() time.Time { return time.Now().Add(-ahead) }}}
		e := &member{}
		if d.resumedSince(e, time.Time{}) {
			t.Errorf("%s: never paused, and resumed", name)
		}
		e.resumed = time.Now()
		before := d.inServerTime(outcome.Result{Began: e.resumed.Add(-time.Second)}).Began
		after := d.inServerTime(outcome.Result{Began: e.resumed.Add(time.Second)}).Began
		if !d.resumedSince(e, before) {
			t.Errorf("%s: attempted a second before the resume, which does not count", name)
		}
		if d.resumedSince(e, after) {
			t.Errorf("%s: attempted a second after the resume, which counts", name)
		}
		if off := before.Sub(d.opts.ServerTime().Add(-time.Second)); off.Abs() > time.Minute {
			t.Errorf("%s: the attempt is recorded %v off the server's time", name, off)
		}
	}
}
