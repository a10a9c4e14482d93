package gateway

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
)

// After a kill -9 a message can still be in the work queue although it was
// acknowledged. It is removed, and nothing that waits.
func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	w.stop = func() {}
	names := w.gw.names
	for range 2 {
		if _, err := w.js.Publish(t.Context(), names.DueSubject("a"), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}

	// The disk forgets what happened to the messages, and keeps what happened to
	// the consumer.
	folder := filepath.Join(w.nats.StoreDir(), "jetstream", "$G", "streams", names.RetriesStream(), "msgs")
	before := filepath.Join(t.TempDir(), "msgs")
	w.nats.Stop()
	if err := os.CopyFS(before, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	w.nats.Resume()
	consumer, err := w.js.Consumer(t.Context(), names.RetriesStream(), names.DueConsumer())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.nats.Stop()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(folder, os.DirFS(before)); err != nil {
		t.Fatal(err)
	}
	w.nats.Resume()
	if n := w.messages(names.RetriesStream()); n != 2 {
		t.Fatalf("the stream holds %d messages, want 2: the one that was acknowledged is to be back", n)
	}

	l := &leftovers{js: w.js, names: names, want: topology.DueConsumer(names), log: zap.NewNop()}
	if removed, err := l.remove(t.Context()); err != nil || removed != 1 {
		t.Fatalf("%d removed, %v; want 1", removed, err)
	}
	stream, err := w.js.Stream(t.Context(), names.RetriesStream())
	if err != nil {
		t.Fatal(err)
	}
	if first := stream.CachedInfo().State.FirstSeq; first != 2 || w.messages(names.RetriesStream()) != 1 {
		t.Errorf("the first message is %d of %d, want 2 of 1", first, w.messages(names.RetriesStream()))
	}

	// A consumer that reports a floor at the end of the stream is not believed.
	l.want.DeliverPolicy = jetstream.DeliverNewPolicy
	if removed, err := l.remove(t.Context()); err == nil || removed != 0 {
		t.Errorf("%d removed although the consumer is not as it should be, %v", removed, err)
	}
}
