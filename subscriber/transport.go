package subscriber

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Bounds on what an endpoint may make us read.
const (
	maxResponseHeader = 64 << 10
	maxResponseBody   = 64 << 10
)

// newClient returns the client of one endpoint. Each endpoint has connections
// of its own, so that none waits for another's.
//
// It follows no redirect, asks for no compression, uses no proxy and keeps no
// cookies. Every address is checked when it is dialled, after DNS. The only
// retry is an immediate one when a connection that was kept alive turns out to
// be dead before any byte of the response; everything longer is a schedule.
//
// closeIdle closes the connections that nobody uses.
func newClient(slots int, egress Egress, refuse []netip.AddrPort) (client *retryablehttp.Client, closeIdle func()) {
	dialer := &net.Dialer{
		Timeout:   10 * time.Second,
		KeepAlive: 30 * time.Second,
		Control:   egress.Control(refuse...),
	}
	transport := &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           slots,
		MaxIdleConnsPerHost:    slots,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		WriteBufferSize:        8 << 10,
		// A connection of HTTP/2 that fell silent would be used again until its
		// streams are used up: an attempt that times out does not close it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     oneHop{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     1,
		CheckRetry:   retryDeadConnection,
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}, transport.CloseIdleConnections
}

// oneHop is a transport whose redirects are answers like others: a Location
// that cannot be read does not turn a 302 into an error. It also hides that
// idle connections can be closed, for retryablehttp would close all of the
// endpoint's after each attempt that failed.
type oneHop struct{ transport *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (h oneHop) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.transport.RoundTrip(req)
	if err == nil {
		resp.Header.Del("Location")
	}
	return resp, err
}

// connection is what a try learned about the connection that it used.
type connection struct {
	reused   atomic.Bool // it was kept alive from an earlier request
	answered atomic.Bool // a byte of the response came
}

type connectionKey struct{}

// retryDeadConnection is the client's retry policy.
func retryDeadConnection(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if err == nil || ctx.Err() != nil {
		return false, nil
	}
	conn, _ := ctx.Value(connectionKey{}).(*connection)
	return conn != nil && conn.reused.Load() && !conn.answered.Load(), nil
}
