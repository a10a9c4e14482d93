// Package natstest runs a real NATS server with JetStream inside a test. It
// starts in a few milliseconds and needs nothing on the machine.
package natstest

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readyTimeout bounds a start of the server; it takes milliseconds unless the
// machine is overloaded.
const readyTimeout = 2 * time.Minute

// Options are the settings of a test server. The zero value is an anonymous
// server that listens nowhere and is reached in the process.
type Options struct {
	Listen     bool   // listen on a free port of 127.0.0.1, the same one after a restart
	StoreDir   string // empty: a folder of the test
	SyncAlways bool   // sync every write before it is acknowledged
	MaxPayload int32  // in bytes; 0: the server's default of 1 MiB

	// Log, if set, gets what the server reports, from every start on.
	Log server.Logger

	// Adjust, if set, changes the server's own options before every start and
	// at every [Server.Reload].
	Adjust func(*server.Options)
}

// Server is a NATS server that lives as long as its test. Its methods may be
// called by several goroutines, but those that fail the test only by the
// test's own.
type Server struct {
	t    testing.TB
	opts Options

	mu   sync.Mutex
	port int            // of the listener, once known
	srv  *server.Server // the one that runs, or that ran last
	nc   *nats.Conn     // of Conn
}

// Start starts a server and stops it at the end of the test, after every
// connection that its methods made.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.StoreDir == "" {
		opts.StoreDir = t.TempDir()
	}
	s := &Server{t: t, opts: opts, port: server.RANDOM_PORT}
	t.Cleanup(s.Stop)
	s.Resume()
	return s
}

// Stop shuts the server down in an orderly way and waits for it. Connections
// see an outage. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
}

// Resume starts a stopped server again: the same store, the same port, the
// same options. Connections come back by themselves.
func (s *Server) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	srv, err := server.NewServer(s.options())
	if err != nil {
		s.t.Fatalf("natstest: configure the server: %v", err)
	}
	if s.opts.Log != nil {
		srv.SetLoggerV2(s.opts.Log, false, false, false)
	}
	s.srv = srv
	srv.Start()
	if !srv.ReadyForConnections(readyTimeout) {
		s.t.Fatalf("natstest: the server is not ready after %v", readyTimeout)
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		s.port = addr.Port
	}
}

// options are those of the server. The caller holds mu.
func (s *Server) options() *server.Options {
	opts := &server.Options{
		ServerName: "natstest",
		Host:       "127.0.0.1",
		Port:       s.port,
		DontListen: !s.opts.Listen,
		JetStream:  true,
		StoreDir:   s.opts.StoreDir,
		SyncAlways: s.opts.SyncAlways,
		MaxPayload: s.opts.MaxPayload,
		NoLog:      true,
		NoSigs:     true,
	}
	if s.opts.Adjust != nil {
		s.opts.Adjust(opts)
	}
	return opts
}

// Reload has the running server take over what Options.Adjust changes now, such
// as users and their permissions.
func (s *Server) Reload() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.srv.ReloadOptions(s.options()); err != nil {
		s.t.Fatalf("natstest: reload: %v", err)
	}
}

// Restart stops the server and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Resume()
}

// InProcessConn opens a connection to the server that runs now; with it a
// Server can be given to [nats.InProcessServer], and such a connection finds
// the server again after a restart.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv.InProcessConn()
}

// URL is where other clients reach a server with Options.Listen.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// StoreDir is where the server keeps its streams.
func (s *Server) StoreDir() string { return s.opts.StoreDir }

// Connect opens a new connection in the process. It reconnects for ever and
// at once, and is closed at the end of the test.
func (s *Server) Connect(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("", append([]nats.Option{
		nats.InProcessServer(s),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(10 * time.Millisecond),
		nats.ReconnectJitter(0, 0),
	}, opts...)...)
	if err != nil {
		s.t.Fatalf("natstest: connect: %v", err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// Conn is one connection that the whole test shares, made by [Server.Connect]
// when it is first asked for.
func (s *Server) Conn() *nats.Conn {
	s.t.Helper()
	s.mu.Lock()
	nc := s.nc
	s.mu.Unlock()
	if nc != nil {
		return nc
	}
	nc = s.Connect()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc == nil {
		s.nc = nc
	}
	return s.nc
}

// JetStream is a client of JetStream on the connection of [Server.Conn].
func (s *Server) JetStream() jetstream.JetStream {
	s.t.Helper()
	js, err := jetstream.New(s.Conn())
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	return js
}
