package state

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go/jetstream"
)

// stateBucket creates the state bucket on a server of its own.
func stateBucket(t *testing.T) (*natstest.Server, jetstream.KeyValue) {
	t.Helper()
	srv := natstest.Start(t, natstest.Options{})
	return srv, createBucket(t, srv)
}

func createBucket(t *testing.T, srv *natstest.Server) jetstream.KeyValue {
	t.Helper()
	_, err := srv.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "fanjet-state", History: 1})
	if err != nil {
		t.Fatal(err)
	}
	kv, err := jsapi.OpenBucket(t.Context(), srv.JetStream(), "fanjet-state")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func pauseOf(by string) endpoint.Pause {
	return endpoint.Pause{Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), By: by, Reason: "maintenance"}
}

func TestSetPauseKeepsTheFirst(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	ctx := t.Context()
	for i, by := range []string{"ann", "bob"} {
		was, err := SetPause(ctx, kv, "billing", pauseOf(by))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && was != nil || i == 1 && (was == nil || !was.Equal(pauseOf("ann"))) {
			t.Errorf("pause by %s: was %+v", by, was)
		}
	}
	pauses, err := Pauses(ctx, kv)
	if err != nil || len(pauses) != 1 || !pauses["billing"].Equal(pauseOf("ann")) {
		t.Errorf("Pauses() = %+v, %v, want the one by ann", pauses, err)
	}
}

func TestSetPauseLearnsWhatBlocks(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	ctx := t.Context()
	blocked := pauseOf("fanjet")
	blocked.Blocked = "key-7"
	for _, p := range []endpoint.Pause{pauseOf("ann"), blocked, pauseOf("bob")} {
		if _, err := SetPause(ctx, kv, "billing", p); err != nil {
			t.Fatal(err)
		}
	}
	want := pauseOf("ann")
	want.Blocked = "key-7"
	pauses, err := Pauses(ctx, kv)
	if err != nil || !pauses["billing"].Equal(want) {
		t.Errorf("Pauses() = %+v, %v, want %+v", pauses, err, want)
	}
}

func TestClearPause(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	ctx := t.Context()
	for range 2 { // an endpoint can be paused again
		if _, err := SetPause(ctx, kv, "billing", pauseOf("ann")); err != nil {
			t.Fatal(err)
		}
		was, err := ClearPause(ctx, kv, "billing")
		if err != nil || was == nil || !was.Equal(pauseOf("ann")) {
			t.Errorf("ClearPause() = %+v, %v", was, err)
		}
		if was, err := ClearPause(ctx, kv, "billing"); was != nil || err != nil {
			t.Errorf("ClearPause() of an endpoint that is not paused = %+v, %v", was, err)
		}
		if pauses, err := Pauses(ctx, kv); err != nil || len(pauses) != 0 {
			t.Errorf("Pauses() = %+v, %v, want none", pauses, err)
		}
	}
}

func TestPauseConcurrently(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for range 8 {
		group.Go(func() {
			was, err := SetPause(t.Context(), kv, "billing", pauseOf("ann"))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if was == nil {
				first++
			}
		})
	}
	group.Wait()
	if first != 1 {
		t.Errorf("%d callers think that they paused it, want 1", first)
	}
}

func TestUnreadablePauseHolds(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	if _, err := kv.PutString(t.Context(), "paused.billing", "yes please"); err != nil {
		t.Fatal(err)
	}
	pauses, err := Pauses(t.Context(), kv)
	if p, ok := pauses["billing"]; err != nil || !ok || !strings.Contains(p.Reason, "unreadable") || p.Since.IsZero() {
		t.Errorf("Pauses() = %+v, %v", pauses, err)
	}
	if was, err := ClearPause(t.Context(), kv, "billing"); err != nil || was == nil {
		t.Errorf("ClearPause() = %v, %v", was, err)
	}
}

func TestManyPauses(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	const n = 1000 // more than a watch has room for
	for i := range n {
		if _, err := kv.PutString(t.Context(), fmt.Sprintf("paused.endpoint-%d", i), "{}"); err != nil {
			t.Fatal(err)
		}
	}
	if pauses, err := Pauses(t.Context(), kv); err != nil || len(pauses) != n {
		t.Errorf("%d pauses, %v, want %d", len(pauses), err, n)
	}
}

func TestPausesWithoutBucket(t *testing.T) {
	t.Parallel()
	srv, kv := stateBucket(t)
	if err := srv.JetStream().DeleteKeyValue(t.Context(), "fanjet-state"); err != nil {
		t.Fatal(err)
	}
	if _, err := Pauses(t.Context(), kv); err == nil {
		t.Error("Pauses() of a bucket that is gone succeeded")
	}
	if _, err := SetPause(t.Context(), kv, "billing", pauseOf("ann")); err == nil {
		t.Error("SetPause() in a bucket that is gone succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pauses(ctx, kv); err == nil {
		t.Error("Pauses() with a context that has ended succeeded")
	}
}
