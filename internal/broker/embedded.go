package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"
)

const (
	// The embedded server takes events of 1 MiB. On top there is room for their
	// producers' headers, and for ours when an event is moved.
	maxPayload = 1<<20 + 64<<10

	// Bounds on what clients can use up. The gateway itself has a few hundred
	// subscriptions when all its lanes are pulled.
	maxConnections   = 1024
	maxSubscriptions = 1024     // of a connection
	maxControlLine   = 4 << 10  // bytes of a subject and what is around it
	maxPending       = 64 << 20 // bytes that wait for a client that does not read
	writeDeadline    = 10 * time.Second
	authTimeout      = 3 * time.Second // from the connection to its credentials
	handshakeTimeout = 5 * time.Second // of TLS

	readyTimeout = 10 * time.Second
)

// Server is a NATS server with JetStream in this process. Its methods may be
// called concurrently.
type Server struct {
	settings Embedded
	key      nkeys.KeyPair // the operator's, for connections of this process
	lock     *storeLock
	log      *zap.Logger
	addr     string // where it listens, the same after every restart
	restarts atomic.Uint64

	mu     sync.RWMutex // held while the server is exchanged
	srv    *server.Server
	faults *storeFaults // of srv
	ended  bool
}

// StartEmbedded starts a NATS server and waits until it takes connections. An
// empty Listen means that only this process reaches it.
//
// A client is a [Producer] or an [Operator]: by the settings' users, or by the
// key in [OperatorKeyName], which is made at the first start. Clients without
// credentials are producers if the settings say so, else refused. A producer
// can publish to its subjects and receive the acknowledgements, nothing else.
//
// The store directory is made if it is missing (mode 0700), and locked for as
// long as the server runs: NATS itself does not notice a second server on the
// same files. The server stores at most three quarters of the disk space that
// was free at the start, and of what it had stored (the default of NATS), so that
// a full disk is refused publishes and, unless others fill it, not a broken
// store; [Server.Watch] mends that. A stream that is there and cannot be read is
// an error: it would be taken for missing. There is no monitoring port and no
// signal handler.
func StartEmbedded(settings Embedded, log *zap.Logger) (*Server, error) {
	if log == nil {
		log = zap.NewNop()
	}
	opts, err := serverOptions(settings, log)
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
	srv, faults, key, err := startLocked(opts, settings, log)
	if err != nil {
		lock.release()
		return nil, err
	}
	s := &Server{settings: settings, key: key, lock: lock, log: log, addr: listenAddr(srv), srv: srv, faults: faults}
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

func serverOptions(settings Embedded, log *zap.Logger) (*server.Options, error) {
	if settings.StoreDir == "" {
		return nil, errors.New("nats.embedded.store_dir: is empty; name the folder that keeps the streams")
	}
	opts := &server.Options{
		ServerName:     "fanjet",
		JetStream:      true,
		StoreDir:       settings.StoreDir,
		MaxPayload:     maxPayload,
		MaxConn:        maxConnections,
		MaxSubs:        maxSubscriptions,
		MaxControlLine: maxControlLine,
		MaxPending:     maxPending,
		WriteDeadline:  writeDeadline,
		AuthTimeout:    authTimeout.Seconds(),
		NoSigs:         true,
		SyncAlways:     settings.SyncInterval <= 0,

		// A client that knows a key signs a nonce with it.
		AlwaysEnableNonce: true,
	}
	if settings.Anonymous {
		// This tells clients that they need no credentials; some would not
		// connect otherwise. What the user may do is decided by access.
		opts.NoAuthUser = "anonymous"
		opts.Users = []*server.User{{Username: opts.NoAuthUser}}
	}
	if settings.SyncInterval > 0 {
		opts.SyncInterval = settings.SyncInterval
	}
	if settings.Listen == "" {
		opts.DontListen = true
		return opts, nil
	}
	var err error
	if opts.Host, opts.Port, err = splitListen(settings.Listen); err != nil {
		return nil, err
	}
	if !isLoopback(opts.Host) {
		if err := settings.guarded(); err != nil {
			return nil, fmt.Errorf("nats.embedded.listen: %q is not a loopback address: %w", settings.Listen, err)
		}
	}
	if opts.TLSConfig, err = serverTLS(settings.TLS, log); err != nil {
		return nil, err
	}
	opts.TLS, opts.TLSTimeout = opts.TLSConfig != nil, handshakeTimeout.Seconds()
	return opts, nil
}

// guarded returns nil when others than the processes of this machine may reach
// the server.
func (e Embedded) guarded() error {
	switch {
	case e.TLS.Cert == "":
		return errors.New("there it needs TLS: set nats.embedded.tls, or listen on 127.0.0.1")
	case len(e.Users) == 0:
		return errors.New("there it needs users: set nats.embedded.users, or listen on 127.0.0.1")
	case e.Anonymous:
		return errors.New("there everybody needs credentials: set nats.embedded.anonymous to false, or listen on 127.0.0.1")
	}
	return nil
}

// splitListen splits the address of a listener.
func splitListen(listen string) (host string, port int, err error) {
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
	return host, port, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// startLocked starts the server on a folder that is locked.
func startLocked(opts *server.Options, settings Embedded, log *zap.Logger) (*server.Server, *storeFaults, nkeys.KeyPair, error) {
	key, err := operatorKey(settings.StoreDir)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, nil, nil, err
	}
	directory, err := newDirectory(settings.Users, settings.Anonymous, public)
	if err != nil {
		return nil, nil, nil, err
	}
	access := &access{directory: directory, subjects: settings.Subjects, log: log, rooms: make(map[string][]*server.Account)}
	opts.CustomClientAuthentication = access
	srv, faults, err := start(opts, access, settings, log)
	return srv, faults, key, err
}

func start(opts *server.Options, access *access, settings Embedded, log *zap.Logger) (*server.Server, *storeFaults, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	if err := access.open(srv); err != nil {
		return nil, nil, err
	}
	logger := newServerLog(log)
	srv.SetLoggerV2(logger, false, false, false)

	// Start returns when the stored streams have been read and the listener is
	// open, or after it has reported a fatal error.
	srv.Start()
	err = logger.fatal()
	if err == nil && srv.ReadyForConnections(readyTimeout) {
		// What cannot be read, for want of descriptors for example, the server
		// leaves out with a line in its log. It would be taken for missing.
		if err := unhealthy(srv); err != nil {
			stop(srv)
			return nil, nil, fmt.Errorf("start the embedded NATS server: %w", &StoreError{Dir: settings.StoreDir, Cause: err})
		}
		return srv, logger.faults, nil
	}
	stop(srv)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, nil, fmt.Errorf("nats.embedded.listen: %s is taken by another process: stop it, choose another port, "+
			"or, if it is a NATS server, use it with nats.url", settings.Listen)
	case err != nil:
		return nil, nil, fmt.Errorf("start the embedded NATS server: %w", err)
	}
	return nil, nil, fmt.Errorf("start the embedded NATS server: it is not ready after %v", readyTimeout)
}

// errRestarting is what a connection gets while the server is exchanged.
var errRestarting = errors.New("the embedded NATS server is being restarted")

// InProcessConn opens a connection that needs no network; it makes a Server an
// option of [nats.InProcessServer].
func (s *Server) InProcessConn() (net.Conn, error) {
	if !s.mu.TryRLock() {
		return nil, errRestarting
	}
	defer s.mu.RUnlock()
	if s.srv == nil {
		return nil, errRestarting
	}
	return s.srv.InProcessConn()
}

// Addr is the host:port that the server listens on; empty when it does not.
func (s *Server) Addr() string { return s.addr }

func listenAddr(srv *server.Server) string {
	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return addr.String()
}

// URL is where other NATS clients reach the server; empty when it does not
// listen.
func (s *Server) URL() string {
	if s.addr == "" {
		return ""
	}
	return "nats://" + s.addr
}

// OperatorKey is the path of the file with the operator's key, which
// [Settings.Credentials] can name.
func (s *Server) OperatorKey() string { return filepath.Join(s.settings.StoreDir, OperatorKeyName) }

// Shutdown stops the server, waits until everything is written, and releases
// the store directory. Close connections before it. A second call does
// nothing.
func (s *Server) Shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.srv != nil {
		stop(s.srv)
	}
	s.ended = true
	s.lock.release()
}

func stop(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
