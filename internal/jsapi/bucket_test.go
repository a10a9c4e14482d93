package jsapi_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
)

// open creates a bucket and opens it.
func open(t *testing.T, js jetstream.JetStream, replicas int) jetstream.KeyValue {
	t.Helper()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b", Replicas: replicas}); err != nil {
		t.Fatal(err)
	}
	kv, err := jsapi.OpenBucket(t.Context(), js, "b")
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// What was written is read, also by who asks a server that has it a moment later:
// a follower answers the reads of nats.go.
func TestBucketReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	open(t, cluster.JetStream(), 3)
	leader, follower := cluster.Lag(cluster.JetStream(), "KV_b", "$KV.b.probe")
	at := func(nc *nats.Conn) jetstream.KeyValue {
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		kv, err := jsapi.OpenBucket(t.Context(), js, "b")
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	writer, reader := at(leader), at(follower)
	ctx := t.Context()
	for i := range 5 {
		key, value := "key."+strconv.Itoa(i%2), strconv.Itoa(i)
		revision, err := writer.Create(ctx, key, []byte(value))
		if err != nil {
			t.Fatalf("created after a delete: %v", err)
		}
		if e, err := reader.Get(ctx, key); err != nil || string(e.Value()) != value || e.Revision() != revision || e.Key() != key || e.Created().IsZero() {
			t.Errorf("read %+v, %v; want %s", e, err, value)
		}
		revision, err = writer.Update(ctx, key, []byte("again"), revision)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := jsapi.Entries(ctx, reader, "key.*")
		if i := slices.IndexFunc(entries, func(e jetstream.KeyValueEntry) bool { return e.Key() == key }); err != nil || i < 0 || entries[i].Revision() != revision {
			t.Errorf("entries %+v, %v; want revision %d of %s", entries, err, revision, key)
		}
		revision, err = writer.Update(ctx, key, []byte("and again"), revision)
		if err != nil {
			t.Fatal(err)
		}
		if newest, err := jsapi.Newest(ctx, reader, "key.*"); err != nil || newest != revision {
			t.Errorf("newest is %d, %v; want %d", newest, err, revision)
		}
		if err := writer.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if e, err := reader.Get(ctx, key); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("read %+v, %v after it was deleted", e, err)
		}
		if _, err := writer.Create(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Create(ctx, key, nil); !jsapi.IsConflict(err) {
			t.Errorf("created a second time: %v", err)
		}
		if err := writer.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Create(ctx, key, nil); err != nil {
			t.Errorf("created after a delete: %v", err)
		}
		if err := writer.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
}

// Of many writers none is lost, and none reads what another one has changed since.
func TestChange(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	open(t, cluster.JetStream(), 3)
	const writers, each = 4, 25
	var all sync.WaitGroup
	for range writers {
		kv, err := jsapi.OpenBucket(t.Context(), cluster.JetStream(), "b")
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for range each {
				if err := jsapi.Change(t.Context(), kv, "count", func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
					n := 0
					if before != nil {
						n, _ = strconv.Atoi(string(before.Value()))
					}
					return jsapi.Write, []byte(strconv.Itoa(n + 1)), nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	kv, err := jsapi.OpenBucket(t.Context(), cluster.JetStream(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(t.Context(), "count"); err != nil || string(e.Value()) != strconv.Itoa(writers*each) {
		t.Errorf("counted to %v, %v; want %d", e, err, writers*each)
	}
}

func TestChangeDecides(t *testing.T) {
	t.Parallel()
	js, _ := events(t)
	kv := open(t, js, 1)
	refused := errors.New("no")
	for _, step := range []struct {
		decision jsapi.Decision
		value    string
		err      error
		before   string // what it decides on; empty: nothing is there
		after    string
	}{
		{jsapi.Leave, "", nil, "", ""},
		{jsapi.Delete, "", nil, "", ""},
		{jsapi.Write, "one", refused, "", ""},
		{jsapi.Write, "one", nil, "", "one"},
		{jsapi.Leave, "two", nil, "one", "one"},
		{jsapi.Write, "two", nil, "one", "two"},
		{jsapi.Delete, "", nil, "two", ""},
		{jsapi.Write, "three", nil, "", "three"},
	} {
		err := jsapi.Change(t.Context(), kv, "key", func(before jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
			got := ""
			if before != nil {
				got = string(before.Value())
			}
			if got != step.before {
				t.Errorf("%+v: it decides on %q", step, got)
			}
			return step.decision, []byte(step.value), step.err
		})
		if !errors.Is(err, step.err) {
			t.Errorf("%+v: %v", step, err)
		}
		after := ""
		if e, err := kv.Get(t.Context(), "key"); err == nil {
			after = string(e.Value())
		} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Fatal(err)
		}
		if after != step.after {
			t.Errorf("%+v: %q is stored", step, after)
		}
	}
}

// What can go wrong is an error, not an empty bucket.
func TestBucketErrors(t *testing.T) {
	t.Parallel()
	js, _ := events(t)
	if _, err := jsapi.OpenBucket(t.Context(), js, "none"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("a bucket that does not exist: %v", err)
	}
	kv := open(t, js, 1)
	for _, key := range []string{"", "a.*", ">", "a b"} {
		if _, err := kv.Get(t.Context(), key); !errors.Is(err, jetstream.ErrInvalidKey) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	raw, err := js.KeyValue(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jsapi.Entries(t.Context(), raw, "*"); err == nil {
		t.Error("entries of a bucket whose reads any replica answers")
	}
	if _, err := jsapi.Newest(t.Context(), raw, "*"); err == nil {
		t.Error("newest of a bucket whose reads any replica answers")
	}
	if n, err := jsapi.Newest(t.Context(), kv, "*"); n != 0 || err != nil {
		t.Errorf("newest of an empty bucket: %d, %v", n, err)
	}
	if err := js.DeleteKeyValue(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, getErr := kv.Get(ctx, "key")
	_, entriesErr := jsapi.Entries(ctx, kv, "*")
	_, newestErr := jsapi.Newest(ctx, kv, "*")
	for _, err := range []error{getErr, entriesErr, newestErr, jsapi.Change(ctx, kv, "key", func(jetstream.KeyValueEntry) (jsapi.Decision, []byte, error) {
		t.Error("it decides on what cannot be read")
		return jsapi.Leave, nil, nil
	})} {
		if err == nil || errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("a bucket that is gone: %v", err)
		}
	}
}

// There may be more keys than the server names at once.
func TestSubjectsOfManyPages(t *testing.T) {
	t.Parallel()
	js, api := events(t)
	const many = 100_050 // the server's pages have 100,000
	for i := range many {
		if _, err := js.PublishAsync("events."+strconv.Itoa(i), nil, jetstream.WithStallWait(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	subjects, err := api.Subjects(t.Context(), "EVENTS", "events.*")
	if err != nil {
		t.Fatal(err)
	}
	different := make(map[string]bool, many)
	for _, s := range subjects {
		different[s] = true
	}
	if len(subjects) != many || len(different) != many {
		t.Errorf("%d subjects, %d of them different; want %d", len(subjects), len(different), many)
	}
}
