package state

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// watched is a pauseWatch at work, and what it told.
type watched struct {
	*testing.T
	watch *PauseWatch
	logs  *observer.ObservedLogs

	mu     sync.Mutex
	paused map[string]endpoint.Pause
	calls  int
	faults []bool // true: a fault began, false: it ended
}

func newWatched(t *testing.T, kv jetstream.KeyValue) *watched {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	w := &watched{T: t, logs: logs, paused: map[string]endpoint.Pause{}}
	w.watch = NewPauseWatch(kv, func(endpoint string, p *endpoint.Pause) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.calls++
		if p == nil {
			delete(w.paused, endpoint)
		} else {
			w.paused[endpoint] = *p
		}
	}, zap.New(core))
	w.watch.OnFault = func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.faults = append(w.faults, err != nil)
	}
	w.watch.retry, w.watch.probe = 10*time.Millisecond, 20*time.Millisecond
	return w
}

// start loads and runs it until the test ends.
func (w *watched) start() {
	w.Helper()
	if err := w.watch.Load(w.Context()); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.watch.Run(ctx)
	}()
	w.Cleanup(func() { cancel(); <-done })
}

func (w *watched) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.paused))
}

func (w *watched) waitFor(what string, ok func() bool) {
	w.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			w.Fatalf("waited too long until %s; logs: %v", what, w.logs.All())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (w *watched) expect(names ...string) {
	w.Helper()
	w.waitFor("other endpoints are paused", func() bool { return slices.Equal(w.names(), names) })
}

// told waits until the beginnings and ends of faults are as given.
func (w *watched) told(faults ...bool) {
	w.Helper()
	w.waitFor("faults are told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Equal(w.faults, faults)
	})
}

func mustPause(t *testing.T, kv jetstream.KeyValue, endpoint string) {
	t.Helper()
	if _, err := SetPause(t.Context(), kv, endpoint, pauseOf("ann")); err != nil {
		t.Fatal(err)
	}
}

func mustResume(t *testing.T, kv jetstream.KeyValue, endpoint string) {
	t.Helper()
	if _, err := ClearPause(t.Context(), kv, endpoint); err != nil {
		t.Fatal(err)
	}
}

func TestPauseWatch(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	mustPause(t, kv, "a")
	mustPause(t, kv, "gone")
	mustResume(t, kv, "gone")
	w := newWatched(t, kv)
	w.start()
	if got := w.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after load %v are paused, want a", got)
	}
	mustPause(t, kv, "b")
	w.expect("a", "b")
	mustResume(t, kv, "a")
	w.expect("b")
	mustPause(t, kv, "a")
	w.expect("a", "b")
	if w.mu.Lock(); w.calls != 4 || len(w.faults) != 0 {
		t.Errorf("%d changes and the faults %v told, want 4 and none", w.calls, w.faults)
	}
	w.mu.Unlock()
}

func TestPauseWatchTellsOnlyChanges(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	mustPause(t, kv, "a")
	w := newWatched(t, kv)
	w.watch.renewal = 5 * time.Millisecond
	w.start()
	mustPause(t, kv, "b")
	w.expect("a", "b")
	mustResume(t, kv, "a")
	w.expect("b")
	if w.mu.Lock(); w.calls != 3 || len(w.faults) != 0 {
		t.Errorf("%d changes and the faults %v told, want 3 and none", w.calls, w.faults)
	}
	w.mu.Unlock()
}

func TestPauseWatchMissesNothingBetweenLoadAndRun(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	mustPause(t, kv, "a")
	mustPause(t, kv, "b")
	w := newWatched(t, kv)
	if err := w.watch.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustResume(t, kv, "a")
	mustPause(t, kv, "c")
	w.start()
	w.expect("b", "c")
}

func TestPauseWatchOutlivesARestartOfNATS(t *testing.T) {
	t.Parallel()
	srv, kv := stateBucket(t)
	mustPause(t, kv, "a")
	w := newWatched(t, kv)
	w.start()
	srv.Stop()
	w.told(true)
	if got := w.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("without NATS %v are paused, want a", got)
	}
	srv.Resume()
	w.told(true, false)
	mustResume(t, kv, "a")
	mustPause(t, kv, "b")
	w.expect("b")
}

func TestPauseWatchOutlivesTheBucket(t *testing.T) {
	t.Parallel()
	srv, kv := stateBucket(t)
	mustPause(t, kv, "a")
	mustPause(t, kv, "b")
	w := newWatched(t, kv)
	w.start()
	if err := srv.JetStream().DeleteKeyValue(t.Context(), kv.Bucket()); err != nil {
		t.Fatal(err)
	}
	w.told(true)
	if got := w.names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("without the bucket %v are paused, want a and b", got)
	}
	if n := w.logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}

	// A new bucket is no resume.
	again := createBucket(t, srv)
	w.told(true, false)
	pauses, err := Pauses(t.Context(), again)
	if err != nil || len(pauses) != 2 || !pauses["a"].Equal(pauseOf("ann")) {
		t.Errorf("the new bucket has the pauses %+v, %v, want those of a and b", pauses, err)
	}
	mustResume(t, again, "a")
	w.expect("b")
}

func TestPauseWatchLoadFails(t *testing.T) {
	t.Parallel()
	srv, kv := stateBucket(t)
	if err := srv.JetStream().DeleteKeyValue(t.Context(), kv.Bucket()); err != nil {
		t.Fatal(err)
	}
	w := newWatched(t, kv)
	if err := w.watch.Load(t.Context()); err == nil {
		t.Error("load() of a bucket that is gone succeeded: something may be delivered to a paused endpoint")
	}
	mustPause(t, createBucket(t, srv), "a")
	if err := w.watch.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expect("a")
}

// Two replicas store the pauses of a bucket that was made anew: what one of them
// stored first counts for both.
func TestPauseOfAFasterReplica(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	w := newWatched(t, kv)
	mine, theirs := pauseOf("ann"), pauseOf("bob")
	w.watch.known = map[string]endpoint.Pause{"a": mine, "b": mine, "c": mine}
	if _, err := SetPause(t.Context(), kv, "b", theirs); err != nil {
		t.Fatal(err)
	}
	stored := map[string]endpoint.Pause{"c": theirs} // it was read before b was paused
	if err := w.watch.restore(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	if !stored["a"].Equal(mine) || !stored["b"].Equal(theirs) || !stored["c"].Equal(theirs) {
		t.Errorf("in force are %+v", stored)
	}
	if all, err := Pauses(t.Context(), kv); err != nil || len(all) != 2 || !all["a"].Equal(mine) || !all["b"].Equal(theirs) {
		t.Errorf("stored are %+v, %v", all, err)
	}
}
