package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

const (
	// The embedded server takes events of 1 MiB. On top there is room for their
	// producers' headers, and for ours when an event is moved.
	maxPayload = 1<<20 + 64<<10

	readyTimeout = 10 * time.Second
)

// Server is a NATS server with JetStream in this process. Its methods may be
// called concurrently.
type Server struct {
	srv  *server.Server
	lock *storeLock
	log  *zap.Logger
}

// StartEmbedded starts a NATS server and waits until it takes connections. An
// empty Listen means that only this process reaches it.
//
// The store directory is made if it is missing (mode 0700), and locked for as
// long as the server runs: NATS itself does not notice a second server on the
// same files. The server stores at most three quarters of the disk space that
// was free at the start (the default of NATS), so that a full disk is refused
// publishes and not a broken store. There is no monitoring port and no signal
// handler.
func StartEmbedded(settings Embedded, log *zap.Logger) (*Server, error) {
	if log == nil {
		log = zap.NewNop()
	}
	opts, err := serverOptions(settings)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(settings.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	lock, err := lockStore(settings.StoreDir)
	if err != nil {
		return nil, err
	}
	srv, err := start(opts, settings, log)
	if err != nil {
		lock.release()
		return nil, err
	}
	s := &Server{srv: srv, lock: lock, log: log}
	log.Info("embedded NATS server is ready",
		zap.String("listen", s.URL()),
		zap.String("store_dir", settings.StoreDir),
		zap.String("durability", settings.Durability()),
		zap.String("version", server.VERSION))
	return s, nil
}

// Durability names the tier of the settings: "fsync" when what is acknowledged
// is on disk, else how many seconds of acknowledged writes a crash of the
// operating system can lose, such as "1s".
func (e Embedded) Durability() string {
	if e.SyncInterval <= 0 {
		return "fsync"
	}
	return e.SyncInterval.String()
}

func serverOptions(settings Embedded) (*server.Options, error) {
	if settings.StoreDir == "" {
		return nil, errors.New("nats.embedded.store_dir: is empty; name the folder that keeps the streams")
	}
	opts := &server.Options{
		ServerName: "fanjet",
		JetStream:  true,
		StoreDir:   settings.StoreDir,
		MaxPayload: maxPayload,
		NoSigs:     true,
		SyncAlways: settings.SyncInterval <= 0,
	}
	if settings.SyncInterval > 0 {
		opts.SyncInterval = settings.SyncInterval
	}
	if settings.Listen == "" {
		opts.DontListen = true
		return opts, nil
	}
	var err error
	opts.Host, opts.Port, err = loopback(settings.Listen)
	return opts, err
}

// loopback splits an address that only this machine can reach.
func loopback(listen string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("nats.embedded.listen: %q is not host:port", listen)
	}
	if port, err = strconv.Atoi(portText); err != nil || port < -1 || port > 65535 {
		return "", 0, fmt.Errorf("nats.embedded.listen: %q: the port must be a number up to 65535", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT // NATS reads 0 as its default port
	}
	if strings.EqualFold(host, "localhost") {
		// Not resolved: a hosts file must not be able to open the server up.
		return "127.0.0.1", port, nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("nats.embedded.listen: %q is not a loopback address, and the embedded server has no users or TLS: "+
			"listen on 127.0.0.1, or run a NATS server of your own and set nats.url", listen)
	}
	return host, port, nil
}

func start(opts *server.Options, settings Embedded, log *zap.Logger) (*server.Server, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	logger := newServerLog(log)
	srv.SetLoggerV2(logger, false, false, false)

	// Start returns when the stored streams have been read and the listener is
	// open, or after it has reported a fatal error.
	srv.Start()
	err = logger.fatal()
	if err == nil && srv.ReadyForConnections(readyTimeout) {
		return srv, nil
	}
	stop(srv)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("nats.embedded.listen: %s is taken by another process: stop it, choose another port, "+
			"or, if it is a NATS server, use it with nats.url", settings.Listen)
	case err != nil:
		return nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	return nil, fmt.Errorf("start the embedded NATS server: it is not ready after %v", readyTimeout)
}

// InProcessConn opens a connection that needs no network; it makes a Server an
// option of [nats.InProcessServer].
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.InProcessConn() }

// Addr is the host:port that the server listens on; empty when it does not.
func (s *Server) Addr() string {
	addr, ok := s.srv.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return addr.String()
}

// URL is where other NATS clients on this machine reach the server; empty when
// it does not listen.
func (s *Server) URL() string {
	if s.Addr() == "" {
		return ""
	}
	return "nats://" + s.Addr()
}

// Shutdown stops the server, waits until everything is written, and releases
// the store directory. Close connections before it. A second call does
// nothing.
func (s *Server) Shutdown() {
	stop(s.srv)
	s.lock.release()
}

func stop(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
