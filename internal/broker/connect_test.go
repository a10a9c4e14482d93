package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/natstest"
)

func TestConnectInProcess(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t, Embedded{})
	if s.URL() != "" {
		t.Errorf("a server without an address listens on %s", s.URL())
	}
	nc := connect(t, Settings{}, ConnectOptions{Server: s, Name: "test"})
	if err := CheckServer(t.Context(), nc); err != nil {
		t.Error(err)
	}
}

// The commands of a second process find the embedded server of the gateway.
func TestConnectToTheEmbeddedServerOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startEmbedded(t, Embedded{StoreDir: dir, Listen: "127.0.0.1:-1"})
	settings := Settings{Embedded: Embedded{StoreDir: dir, Listen: strings.TrimPrefix(s.URL(), "nats://")}}
	connect(t, settings, ConnectOptions{NoWait: true})
	for _, url := range []string{s.URL(), s.URL() + "/", strings.Replace(s.URL(), "127.0.0.1", "localhost", 1)} {
		named := settings
		named.URL = url
		nc := connect(t, named, ConnectOptions{NoWait: true})
		if _, err := nc.Request("$JS.API.INFO", nil, patience); err != nil {
			t.Errorf("%s does not connect as an operator: %v", url, err)
		}
	}
	s.Shutdown()
	_, err := Connect(t.Context(), settings, ConnectOptions{NoWait: true})
	if err == nil || !strings.Contains(err.Error(), "start the gateway") || !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("error %v does not say what to do", err)
	}
}

// Whoever moves from the embedded server to one of their own, at the same address, has
// its operator's key still lying about.
func TestConnectToAnotherServerWhereTheEmbeddedOneWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed, err := newKey(t).Seed()
	if err == nil {
		err = writeKey(filepath.Join(dir, OperatorKeyName), seed)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := natstest.Start(t, natstest.Options{Listen: true})
	connect(t, Settings{URL: other.URL(), Embedded: Embedded{StoreDir: dir, Listen: strings.TrimPrefix(other.URL(), "nats://")}}, ConnectOptions{})
}

func TestConnectWaitsForNATS(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Listen: true})
	s.Stop()
	core, logs := observer.New(zapcore.InfoLevel)
	log := zap.New(&onceHook{Core: core, hook: s.Resume})
	nc := connect(t, Settings{URL: s.URL()}, ConnectOptions{Log: log})
	if !nc.IsConnected() {
		t.Error("not connected")
	}
	if logs.FilterMessageSnippet("waiting for NATS at 127.0.0.1").Len() != 1 {
		t.Errorf("the wait was not logged once: %v", logs.All())
	}
}

// onceHook is a log core that calls hook at the first entry.
type onceHook struct {
	zapcore.Core
	hook func()
}

func (h *onceHook) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if h.hook != nil {
		h.hook()
		h.hook = nil
	}
	return h.Core.Check(e, ce)
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	// A peer that takes connections and says nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
			cancel()
		}
	}()
	_, err = Connect(ctx, Settings{URL: "nats://" + l.Addr().String()}, ConnectOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	receive(t, accepted).Close()
}

func TestConnectFailsAtOnce(t *testing.T) {
	t.Parallel()
	guarded := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.Username, o.Password = "ann", "a-password"
	}})
	plain := natstest.Start(t, natstest.Options{Listen: true})
	host := strings.TrimPrefix(guarded.URL(), "nats://")
	missing := filepath.Join(t.TempDir(), "missing")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("no PEM here"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := serveText(t, "HTTP/1.1 400 Bad Request\r\n\r\n")

	for _, test := range []struct {
		name     string
		settings Settings
		want     []string // parts of the error
	}{
		{"no credentials", Settings{URL: guarded.URL()}, []string{host, "asks for credentials", "nats.credentials"}},
		{"wrong password", Settings{URL: "nats://ann:wrong@" + host}, []string{host, "asks for credentials"}},
		{"no TLS", Settings{URL: strings.Replace(plain.URL(), "nats:", "tls:", 1)}, []string{"has no TLS", "nats://"}},
		{"not a NATS server", Settings{URL: "nats://" + web}, []string{web, "cannot be used"}},
		{"credentials file", Settings{URL: plain.URL(), Credentials: missing}, []string{"nats.credentials", missing}},
		{"CA file", Settings{URL: plain.URL(), TLS: TLS{CA: missing}}, []string{"nats.tls.ca", missing}},
		{"CA is no PEM", Settings{URL: plain.URL(), TLS: TLS{CA: garbage}}, []string{garbage}},
		{"certificate without key", Settings{URL: plain.URL(), TLS: TLS{Cert: garbage}}, []string{"nats.tls", "belong together"}},
		{"certificate is no PEM", Settings{URL: plain.URL(), TLS: TLS{Cert: garbage, Key: garbage}}, []string{"nats.tls.cert"}},
		{"scheme", Settings{URL: "http://localhost:4222"}, []string{"nats.url", `"http"`}},
		{"not a URL", Settings{URL: "nats://user:pa%ss@host"}, []string{"nats.url"}},
		{"empty list", Settings{URL: " , "}, []string{"nats.url", "names no server"}},
		{"nowhere to look", Settings{}, []string{"nats.url is empty"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Connect(t.Context(), test.settings, ConnectOptions{})
			if err == nil {
				t.Fatal("connected")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not contain %q", err, part)
				}
			}
			for _, secret := range []string{"wrong", "pa%ss"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error %q holds a password", err)
				}
			}
		})
	}
}

func TestConnectTriesEveryServer(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Listen: true})
	gone := natstest.Start(t, natstest.Options{Listen: true})
	gone.Stop()
	url := gone.URL() + ", " + strings.TrimPrefix(s.URL(), "nats://")
	connect(t, Settings{URL: url}, ConnectOptions{NoWait: true})
}

func TestConnectionSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Listen: true})
	states := make(chan bool, 8)
	nc := connect(t, Settings{URL: s.URL()}, ConnectOptions{OnState: func(connected bool) { states <- connected }})
	s.Stop()
	if receive(t, states) {
		t.Fatal("the outage was not reported")
	}
	// What is published meanwhile, such as an ack, goes out on reconnect.
	sub, err := nc.SubscribeSync("ack")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("ack", nil); err != nil {
		t.Fatalf("publish during the outage: %v", err)
	}
	s.Resume()
	if !receive(t, states) {
		t.Fatal("the reconnect was not reported")
	}
	if _, err := sub.NextMsg(patience); err != nil {
		t.Errorf("the buffered message did not arrive: %v", err)
	}
	nc.Close()
	if receive(t, states) {
		t.Fatal("the end of the connection was not reported")
	}
}

// patience bounds waits that end at once unless the code is broken.
const patience = 30 * time.Second

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

// serveText answers every connection with text and returns its address.
func serveText(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(text))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
