package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// watched has a server watched, and returns what is reported.
func watched(t *testing.T, s *Server) (reports func() []error) {
	t.Helper()
	var mu sync.Mutex
	var said []error
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		s.Watch(ctx, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, err)
		})
	})
	t.Cleanup(func() { cancel(); watching.Wait() })
	return func() []error {
		mu.Lock()
		defer mu.Unlock()
		return append([]error(nil), said...)
	}
}

// A server whose store met an error is exchanged for a new one on the same folder
// and port: connections of this process and of others come back, and find what
// was acknowledged.
func TestServerIsRestartedInPlace(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t, Embedded{Listen: "127.0.0.1:0", Subjects: []string{"events.>"}, Anonymous: true})
	url := s.URL()
	own := connect(t, Settings{}, ConnectOptions{Server: s})
	js, err := jetstream.New(own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	producer, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := producer.Publish(t.Context(), "events.x", nil); err != nil {
		t.Fatal(err)
	}

	reports := watched(t, s)
	s.Report(s.Restarts()+1, errors.New("of another server"))
	s.Report(s.Restarts(), errors.New("a write failed"))
	eventually(t, func() bool {
		said := reports()
		return len(said) > 1 && said[0] != nil && said[len(said)-1] == nil
	})
	first := reports()[0]
	if _, ok := errors.AsType[*StoreError](first); !ok || !strings.Contains(first.Error(), "a write failed") {
		t.Errorf("the first report is: %v", first)
	}
	if s.URL() != url {
		t.Errorf("it listens on %s, and did on %s", s.URL(), url)
	}
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := producer.Publish(ctx, "events.x", nil)
		return err == nil
	})
	stream, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n < 2 {
		t.Errorf("the stream has %d messages", n)
	}
	if _, err := lockStore(s.settings.StoreDir); err == nil {
		t.Error("the folder is not locked any more")
	}
}

// A restart after the end starts nothing.
func TestRestartAfterShutdown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startEmbedded(t, Embedded{StoreDir: dir})
	s.Shutdown()
	if err := s.Restart("test"); err != nil {
		t.Error(err)
	}
	startEmbedded(t, Embedded{StoreDir: dir})
}

// A stream that cannot be read would be taken for one that does not exist, and be
// made anew: the server does not start then.
func TestUnreadableStreamEndsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startEmbedded(t, Embedded{StoreDir: dir})
	js, err := jetstream.New(connect(t, Settings{}, ConnectOptions{Server: s}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	js.Conn().Close()
	s.Shutdown()
	meta := filepath.Join(dir, "jetstream", "$G", "streams", "EVENTS", "meta.inf")
	if err := os.WriteFile(meta, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = StartEmbedded(Embedded{StoreDir: dir}, nil)
	if err == nil {
		s.Shutdown()
		t.Fatal("it starts without the stream")
	}
	if !strings.Contains(err.Error(), "EVENTS") || !strings.Contains(err.Error(), dir) {
		t.Errorf("the error does not say which stream, and where: %v", err)
	}
}

// What the server's log says of a store that failed is recognised, and nothing
// else is.
func TestStoreFaultsInTheLog(t *testing.T) {
	t.Parallel()
	write := &os.PathError{Op: "write", Path: "1.blk", Err: syscall.ENOSPC}
	for _, test := range []struct {
		format string
		args   []any
		cause  error // nil: it is no fault
	}{
		{"Filestore [FANJET_RETRIES] Critical write error: %v", []any{write}, syscall.ENOSPC},
		{"JetStream stream '%s > %s' critical write error: %v", []any{"$G", "EVENTS", write}, syscall.ENOSPC},
		{"%s", []any{"JetStream failed to store a msg on stream '$G > EVENTS': open 2.blk: too many open files"}, syscall.EMFILE},
		{"JetStream out of %s resources, will be DISABLED", []any{"File"}, errors.ErrUnsupported},
		{"Filesystem permission denied while writing msg, disabling JetStream: %v", []any{&os.PathError{Op: "open", Path: "1.blk", Err: syscall.EACCES}}, os.ErrPermission},
		{"JetStream %s resource limits exceeded for server", []any{"file"}, nil},
		{"Temporary Client Accept Error(%v), sleeping %dms", []any{syscall.EMFILE, 10}, nil},
		{"Filestore [%s] Stream state encountered internal inconsistency on write", []any{"EVENTS"}, nil},
	} {
		log := newServerLog(zap.NewNop())
		log.Errorf(test.format, test.args...)
		err := log.faults.get()
		switch {
		case test.cause == nil && err != nil:
			t.Errorf("%q is taken for a fault: %v", test.format, err)
		case test.cause == nil:
		case err == nil:
			t.Errorf("%q is not taken for a fault", test.format)
		case !errors.Is(test.cause, errors.ErrUnsupported) && !errors.Is(err, test.cause):
			t.Errorf("%q: the cause of %v is not %v", test.format, err, test.cause)
		}
	}
}

func TestStoreErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cause  error
		remedy string
	}{
		{syscall.ENOSPC, "make room"},
		{syscall.EDQUOT, "make room"},
		{&limitError{used: 2 << 20, limit: 1 << 20}, "make room"},
		{syscall.EMFILE, "limit of open files"},
		{syscall.EROFS, "let this user write"},
		{os.ErrPermission, "let this user write"},
		{syscall.EIO, "look at that disk"},
	} {
		err := &StoreError{Dir: "/data", Cause: test.cause}
		if text := err.Error(); !strings.Contains(text, test.remedy) || !strings.Contains(text, "/data") || !errors.Is(err, test.cause) {
			t.Errorf("%v: %s", test.cause, text)
		}
	}
}

func TestTryRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := tryRoom(dir, aLittle, spareFiles); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	if err := tryRoom(filepath.Join(dir, "missing"), aLittle, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
