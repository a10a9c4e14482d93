// Package admin is the HTTP listener for operators: health and metrics.
//
//	/livez    200 as long as the process answers
//	/readyz   200 when the gateway can make progress, else 503 with every reason
//	/metrics  Prometheus
//	/         a page that names these
//
// It has no users and no TLS, so it listens on loopback only, and it answers
// only requests for a loopback host: a web page that makes its own name
// resolve to 127.0.0.1 gets nothing. Nothing here changes anything; GET and
// HEAD are the only methods.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
	shutdownTimeout   = 5 * time.Second
	maxHeaderBytes    = 16 << 10
)

// Options configure a [Server].
type Options struct {
	Listen   string              // host:port, loopback only; port 0 picks a free one; required
	Gatherer prometheus.Gatherer // of /metrics; required
	// Ready says why the gateway cannot work, nil if it can; each error of a
	// joined one is a reason. It is called for every request of /readyz, by
	// several goroutines. Required.
	Ready func() error
	Log   *zap.Logger // default: none
}

// Server is the listener.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// New binds the address, so that it is known and taken; [Server.Run] answers
// requests and closes it.
func New(opts Options) (*Server, error) {
	if opts.Gatherer == nil || opts.Ready == nil {
		return nil, errors.New("admin: Options.Gatherer and Options.Ready are required")
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	address, err := loopback(opts.Listen)
	if err != nil {
		return nil, err
	}
	errorLog, err := zap.NewStdLogAt(opts.Log.Named("admin"), zap.WarnLevel)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("admin.listen: %s is taken by another process, perhaps a gateway that runs already: "+
			"stop it, or choose another port", address)
	case err != nil:
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	return &Server{listener: listener, http: newHTTPServer(opts, errorLog)}, nil
}

func newHTTPServer(opts Options, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler:           guard(routes(opts, errorLog)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
	}
}

// Addr is the host:port that is bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

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

// loopback returns the address to bind, or an error when others than this
// machine could reach it.
func loopback(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("admin.listen: %q is not host:port", listen)
	}
	if strings.EqualFold(host, "localhost") {
		// Not resolved: a hosts file must not be able to open the listener up.
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("admin.listen: %q is not a loopback address, and the listener has no users or TLS: "+
			"listen on 127.0.0.1, and put a proxy that authenticates in front of it", listen)
	}
	return listen, nil
}
