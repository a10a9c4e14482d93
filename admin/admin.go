// Package admin is the HTTP listener for operators: health, metrics, and an API
// that sees and steers the whole installation.
//
//	/livez    200 as long as the process answers
//	/readyz   200 when the gateway can make progress, else 503 with every reason
//	/metrics  Prometheus
//	/api/v1   endpoints, dead letters, audit; see routes.go for all of it
//	/         a page that names these
//
// Guarantees:
//
//   - Others than this machine reach it only with a token and TLS: [New] refuses
//     anything else.
//   - A token is compared by its hash, in a time that says nothing; it is in no
//     log, no metric and no answer.
//   - A web page that somebody has open gets nothing: it answers only requests
//     for its own hosts, and no change that a browser was made to ask for by
//     another origin.
//   - Requests are bounded in size, time, number and rate, connections in number.
//     Whatever comes, deliveries go on.
//   - Looking changes nothing. Every act is recorded, see [control.Operator].
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/internal/audit"
	"fanjet/internal/control"
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
	shutdownTimeout   = 5 * time.Second
	maxHeaderBytes    = 16 << 10
	maxConnections    = 256
)

// Options configure a [Server].
type Options struct {
	Settings
	Gatherer   prometheus.Gatherer   // of /metrics; required
	Registerer prometheus.Registerer // of the listener's own metrics; default: none
	// Ready says why the gateway cannot work, nil if it can; each error of a
	// joined one is a reason. It is called for every request of /readyz, by
	// several goroutines. Required.
	Ready func() error
	Log   *zap.Logger // default: none
}

// Installation is what the API acts on.
type Installation struct {
	Endpoints *control.Operator
	Letters   *control.Letters
	Audit     *audit.Log
}

// Server is the listener. Its methods may be called concurrently.
type Server struct {
	opts         Options
	log          *zap.Logger
	listener     net.Listener
	secure       bool // with TLS
	http         *http.Server
	metrics      *metrics
	access       atomic.Pointer[access]
	installation atomic.Pointer[Installation]
	requests     *clientLimits
	failures     *clientLimits
	bulk         chan struct{} // a slot for each replay or purge
}

// access is the part of the settings that may change while it listens.
type access struct {
	keys        keyring
	hosts       map[string]bool
	certificate *tls.Certificate // nil: no TLS
}

// New checks the settings and binds the address, so that it is known and taken;
// [Server.Run] answers requests and closes it.
func New(opts Options) (*Server, error) {
	if opts.Gatherer == nil || opts.Ready == nil {
		return nil, errors.New("admin: Options.Gatherer and Options.Ready are required")
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Registerer == nil {
		opts.Registerer = prometheus.NewRegistry()
	}
	s := &Server{
		opts: opts, log: opts.Log.Named("admin"),
		requests: newClientLimits(requestRate, requestBurst),
		failures: newClientLimits(failureRate, failureBurst),
		bulk:     make(chan struct{}, maxBulk),
	}
	access, err := newAccess(opts.Settings)
	if err != nil {
		return nil, err
	}
	s.access.Store(access)
	errorLog, err := zap.NewStdLogAt(s.log, zap.DebugLevel) // what clients do wrong
	if err != nil {
		return nil, err
	}
	s.metrics = newMetrics(opts.Registerer)
	s.http = &http.Server{
		Handler:           s.guard(s.router(errorLog)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
		ConnContext:       withConnection,
	}
	address := opts.bindAddress()
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("admin.listen: %s is taken by another process, perhaps a gateway that runs already: "+
			"stop it, or choose another port", address)
	case err != nil:
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	s.secure = access.certificate != nil
	s.listener = newConnections(listener, maxConnections, s.secure)
	if s.secure {
		s.listener = &encrypted{Listener: s.listener, log: errorLog, config: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.access.Load().certificate, nil },
		}}
	}
	return s, nil
}

// newAccess checks settings and reads what they name.
func newAccess(settings Settings) (*access, error) {
	if err := settings.Check(); err != nil {
		return nil, err
	}
	a := &access{keys: newKeyring(settings.Tokens), hosts: make(map[string]bool)}
	for _, host := range settings.Hosts {
		a.hosts[host] = true
	}
	if host, _, err := net.SplitHostPort(settings.Listen); err == nil && len(settings.Hosts) == 0 {
		a.hosts[host] = true
	}
	if settings.TLS != (TLS{}) {
		certificate, err := tls.LoadX509KeyPair(settings.TLS.Cert, settings.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("admin.tls: %w", err)
		}
		a.certificate = &certificate
	}
	return a, nil
}

// Apply puts other tokens, hosts and another certificate into force, which it
// reads again. Where it listens, and whether with TLS, stays; [Settings] that
// are not enough for that are refused, and change nothing.
func (s *Server) Apply(settings Settings) error {
	bound := s.opts.Settings
	settings.Listen, settings.BehindTLSProxy = bound.Listen, bound.BehindTLSProxy
	if bound.TLS == (TLS{}) {
		settings.TLS = TLS{}
	}
	next, err := newAccess(settings)
	if err != nil {
		return fmt.Errorf("the listener goes on at %s until a restart, for which this is not enough: %w", bound.Listen, err)
	}
	if (next.certificate != nil) != (bound.TLS != TLS{}) {
		return fmt.Errorf("the listener at %s goes on with TLS until a restart, and needs its certificate: keep admin.tls until then", bound.Listen)
	}
	s.access.Store(next)
	return nil
}

// Attach lets the API act on an installation; nil: not for the moment, to which
// requests are answered with 503.
func (s *Server) Attach(in *Installation) { s.installation.Store(in) }

// Addr is the host:port that is bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is where clients on this machine reach it.
func (s *Server) URL() string {
	if s.secure {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Recorded hears of every audit record, for [control.Options].
func (s *Server) Recorded(err error) {
	s.metrics.recorded(err)
	if err != nil {
		s.log.Error("what an operator did is not recorded", zap.Error(err))
	}
}

// Run answers requests until ctx ends, lets those that run finish, and returns
// nil. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin listener: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		_ = s.http.Close() // whoever still reads is cut off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}
