package broker

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/secret"
)

func startEmbedded(t *testing.T, settings Embedded) *Server {
	t.Helper()
	if settings.StoreDir == "" {
		settings.StoreDir = filepath.Join(t.TempDir(), "store")
	}
	s, err := StartEmbedded(settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, settings Settings, opts ConnectOptions) *nats.Conn {
	t.Helper()
	nc, err := Connect(t.Context(), settings, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestStartEmbedded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	core, logs := observer.New(zapcore.InfoLevel)
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	s, err := StartEmbedded(Embedded{StoreDir: dir, Listen: "127.0.0.1:-1", Subjects: []string{"events.>"}, Anonymous: true}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()

	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode of the store directory is %o, want 700", got)
	}
	if n := logs.FilterLevelExact(zapcore.WarnLevel).Len() + logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n > 0 {
		t.Errorf("an ordinary start logs %d warnings: %v", n, logs.All())
	}
	ready := logs.FilterMessage("embedded NATS server is ready").All()
	if len(ready) != 1 || ready[0].ContextMap()["durability"] != "fsync" {
		t.Errorf("the start log does not name the durability tier: %v", ready)
	}

	// Any NATS client on this machine can publish, up to an event of 1 MiB and
	// still with headers of its own.
	own, err := jetstream.New(connect(t, Settings{}, ConnectOptions{Server: s}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.CreateStream(ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	big := &nats.Msg{Subject: "events.big", Data: bytes.Repeat([]byte("x"), 1<<20), Header: nats.Header{"Nats-Msg-Id": {"1"}}}
	if _, err := js.PublishMsg(ctx, big); err != nil {
		t.Errorf("an event of 1 MiB is refused: %v", err)
	}
}

func TestServerOptions(t *testing.T) {
	t.Parallel()
	fsync, err := serverOptions(Embedded{StoreDir: "d"}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if !fsync.SyncAlways || !fsync.DontListen || fsync.HTTPPort != 0 || !fsync.NoSigs {
		t.Errorf("tier fsync: SyncAlways %v, DontListen %v, HTTPPort %d, NoSigs %v",
			fsync.SyncAlways, fsync.DontListen, fsync.HTTPPort, fsync.NoSigs)
	}
	second, err := serverOptions(Embedded{StoreDir: "d", SyncInterval: time.Second}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if second.SyncAlways || second.SyncInterval != time.Second {
		t.Errorf("tier 1s: SyncAlways %v, SyncInterval %v", second.SyncAlways, second.SyncInterval)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	cert, key := writeCertificate(t, "nats.example.com")
	open := Embedded{Anonymous: true}
	guarded := Embedded{TLS: TLS{Cert: cert, Key: key}, Users: []User{{Name: "shop", Password: secret.New("a-password")}}}
	plain, nobody, both := guarded, guarded, guarded
	plain.TLS, nobody.Users, both.Anonymous = TLS{}, nil, true
	for _, test := range []struct {
		settings     Embedded
		listen, host string
		port         int
		refusal      string // part of the error; empty: accepted
	}{
		{open, "127.0.0.1:4222", "127.0.0.1", 4222, ""},
		{open, "127.8.9.10:4222", "127.8.9.10", 4222, ""},
		{open, "[::1]:4222", "::1", 4222, ""},
		{open, "localhost:4222", "127.0.0.1", 4222, ""},
		{open, "LocalHost:-1", "127.0.0.1", server.RANDOM_PORT, ""},
		{open, "127.0.0.1:0", "127.0.0.1", server.RANDOM_PORT, ""},
		{open, "0.0.0.0:4222", "", 0, "not a loopback address"},
		{open, ":4222", "", 0, "not a loopback address"},
		{open, "[::]:4222", "", 0, "not a loopback address"},
		{open, "10.1.2.3:4222", "", 0, "not a loopback address"},
		{open, "nats.example.com:4222", "", 0, "not a loopback address"},
		{open, "127.0.0.1", "", 0, "not host:port"},
		{open, "127.0.0.1:nats", "", 0, "the port must be a number"},
		{open, "127.0.0.1:65536", "", 0, "the port must be a number"},
		{guarded, "0.0.0.0:4222", "0.0.0.0", 4222, ""},
		{guarded, ":4222", "", 4222, ""},
		{guarded, "10.1.2.3:4222", "10.1.2.3", 4222, ""},
		{plain, "0.0.0.0:4222", "", 0, "set nats.embedded.tls"},
		{nobody, "0.0.0.0:4222", "", 0, "set nats.embedded.users"},
		{both, "0.0.0.0:4222", "", 0, "nats.embedded.anonymous"},
	} {
		test.settings.StoreDir, test.settings.Listen = "d", test.listen
		opts, err := serverOptions(test.settings, zap.NewNop())
		switch {
		case test.refusal == "" && (err != nil || opts.Host != test.host || opts.Port != test.port):
			t.Errorf("%q: got %+v, %v; want %q, %d", test.listen, opts, err, test.host, test.port)
		case test.refusal != "" && (err == nil || !strings.Contains(err.Error(), test.refusal)):
			t.Errorf("%q: error %v does not say %q", test.listen, err, test.refusal)
		}
	}
}

func TestStoreIsLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startEmbedded(t, Embedded{StoreDir: dir})
	_, err := StartEmbedded(Embedded{StoreDir: dir}, nil)
	if err == nil {
		t.Fatal("two servers share a store directory")
	}
	for _, part := range []string{dir, "in use by another process (pid ", "store_dir"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
	first.Shutdown()
	first.Shutdown()
	startEmbedded(t, Embedded{StoreDir: dir})
}

func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	first := startEmbedded(t, Embedded{Listen: "127.0.0.1:-1"})
	listen := strings.TrimPrefix(first.URL(), "nats://")
	dir := t.TempDir()
	_, err := StartEmbedded(Embedded{StoreDir: dir, Listen: listen}, nil)
	if err == nil || !strings.Contains(err.Error(), listen+" is taken by another process") {
		t.Errorf("error %v does not name the port", err)
	}
	startEmbedded(t, Embedded{StoreDir: dir}) // a failed start leaves nothing behind
}

func TestStoreDirErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", file} {
		if _, err := StartEmbedded(Embedded{StoreDir: dir}, nil); err == nil || !strings.Contains(err.Error(), "nats.embedded.store_dir") {
			t.Errorf("store_dir %q: error %v does not name the setting", dir, err)
		}
	}
}

// A server that was shut down keeps what it acknowledged.
func TestShutdownKeepsMessages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	for run := range 2 {
		s := startEmbedded(t, Embedded{StoreDir: dir, SyncInterval: time.Second})
		nc := connect(t, Settings{}, ConnectOptions{Server: s})
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got != uint64(run) {
			t.Errorf("run %d finds %d messages", run, got)
		}
		if _, err := js.Publish(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		s.Shutdown()
	}
}
