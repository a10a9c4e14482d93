package subscriber

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
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
// cookies. It connects where guard lets it. The only
// retry is an immediate one when a connection that was kept alive turns out to
// be dead before any byte of the response; everything longer is a schedule.
//
// idle limits the number of connections that nobody uses over all endpoints; nil:
// it does not.
func newClient(slots int, guard *Guard, idle *idleLimit) (*retryablehttp.Client, *transport) {
	t := newTransport(slots, guard)
	t.idle.limit = idle
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     t,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax:     1,
		CheckRetry:   retryDeadConnection,
		Backoff:      func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}, t
}

// retryDeadConnection is the client's retry policy. A receiver that ends a
// stream of HTTP/2 has answered, and its connection lives.
func retryDeadConnection(ctx context.Context, _ *http.Response, err error) (bool, error) {
	x, ok := ctx.(*exchange)
	var ended streamError
	return ok && err != nil && x.reused && !x.answered && !x.expired() && x.Err() == nil && !errors.As(err, &ended), nil
}

// transport makes the tries of one endpoint's exchanges. HTTP/1.1 it speaks
// itself, see http1.go. HTTP/2, which the receiver chooses in the TLS
// handshake, is left to net/http.
//
// It has no method CloseIdleConnections: go-retryablehttp would call it after
// each attempt that failed, and close the connections of others.
type transport struct {
	guard    *Guard
	tls      *tls.Config
	idle     idleConns
	standard *http.Transport

	http2   atomic.Bool // the receiver chose it when it was last asked
	tight   atomic.Bool // its idle connections of HTTP/2 are about to be closed
	retired atomic.Bool // another policy is in force

	mu    sync.Mutex
	given []net.Conn // connections that speak HTTP/2, until standard asks for them
}

func newTransport(slots int, guard *Guard) *transport {
	t := &transport{
		guard: guard,
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
			// A request is written in one piece, and is of no use in smaller ones.
			DynamicRecordSizingDisabled: true,
		},
		idle: idleConns{max: slots, timeout: idleTimeout},
	}
	t.standard = &http.Transport{
		DialTLSContext:         t.dialStandard,
		DialContext:            t.dialPlain,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConns:           slots,
		MaxIdleConnsPerHost:    slots,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		// A connection of HTTP/2 that fell silent would be used again until its
		// streams are used up: an attempt that times out does not close it.
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second,
			// What comes before it is asked for is kept in memory.
			MaxReceiveBufferPerStream: maxResponseBody, MaxReceiveBufferPerConnection: 16 * maxResponseBody,
			MaxReadFrameSize: 16 << 10,
		},
	}
	return t
}

func (t *transport) closeIdle() {
	t.idle.close()
	t.standard.CloseIdleConnections()
}

// errRetired ends an attempt that has not sent its request when the egress
// policy changes: its connection may be one that is forbidden now.
var errRetired = errors.New("the egress policy has changed: another attempt is made under the new one")

// retire lets no request begin any more. Those that were sent go on; their
// connections are not used again.
func (t *transport) retire() {
	t.retired.Store(true)
	t.idle.mu.Lock()
	t.idle.max = 0
	t.idle.mu.Unlock()
	t.closeIdle()
}

// RoundTrip implements [http.RoundTripper], for requests of exchanges only.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, ok := req.Context().(*exchange)
	if !ok {
		return nil, errors.New("the request belongs to no attempt")
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	if t.retired.Load() {
		return nil, errRetired
	}
	x.tries++
	x.reused, x.answered = false, false
	if t.http2.Load() {
		return t.roundTripStandard(x)
	}
	x.idle = &t.idle
	// If one connection was dead, others may be: the second try makes its own.
	if x.tries == 1 {
		if c := t.idle.take(); c != nil {
			if t.retired.Load() {
				_ = c.Close()
				return nil, errRetired
			}
			x.reused = true
			return x.send(c)
		}
	}
	ctx, cancel := context.WithDeadline(x.Context, x.deadline)
	defer cancel()
	c, err := t.dial(ctx, x.shell.URL)
	if err != nil {
		return nil, err
	}
	if t.retired.Load() {
		_ = c.Close()
		return nil, errRetired
	}
	if secure, ok := c.Conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
		t.http2.Store(true)
		t.give(secure)
		defer t.takeBack(secure)
		return t.roundTripStandard(x)
	}
	return x.send(c)
}

// dial connects to the host of a URL.
func (t *transport) dial(ctx context.Context, target *url.URL) (*conn, error) {
	raw, err := t.guard.dial(ctx, addressOf(target), target.Scheme == "https")
	if err != nil {
		return nil, err
	}
	if target.Scheme == "http" {
		return newConn(raw, raw), nil
	}
	secure, err := t.handshake(ctx, raw, target.Hostname())
	if err != nil {
		return nil, err
	}
	return newConn(secure, raw), nil
}

// addressOf is the host and port that a URL leads to.
func addressOf(target *url.URL) string {
	port := target.Port()
	switch {
	case port != "":
	case target.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(target.Hostname(), port)
}

// handshake speaks TLS on a connection, which it closes if that fails.
func (t *transport) handshake(ctx context.Context, raw net.Conn, name string) (*tls.Conn, error) {
	config := t.tls.Clone()
	config.ServerName = name
	counted := &countedConn{Conn: raw, limit: t.idle.limit}
	secure := tls.Client(counted, config)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, handshakeFailure(err)
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		counted.begin()
	}
	return secure, nil
}

// roundTripStandard makes a try through net/http. It keeps using the request
// after its return, so it gets one of its own.
func (t *transport) roundTripStandard(x *exchange) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(x.Context)
	x.cancel = func(cause error) {
		cancel(cause)
		if t.retired.Load() {
			// Its connection was in use when the transport retired, and is until
			// net/http has cleaned up behind the stream.
			time.AfterFunc(time.Second, t.standard.CloseIdleConnections)
		}
	}
	x.timer = time.AfterFunc(time.Until(x.deadline), func() { cancel(errTimeout) })
	var reused, answered atomic.Bool
	trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	req := (&http.Request{
		Method: http.MethodPost, URL: x.shell.URL, Host: x.shell.Host, Header: x.header(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(trace)
	if len(x.body) > 0 {
		body := newOnceBody(x.body)
		req.ContentLength, req.Body, req.GetBody = int64(len(x.body)), body, body.again
	}
	defer t.makeRoom()
	resp, err := t.standard.RoundTrip(req)
	x.reused, x.answered = reused.Load(), answered.Load()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		x.endStandard()
		return nil, err
	}
	t.http2.Store(resp.ProtoMajor == 2) // a receiver may change its mind
	if statusClass(resp.StatusCode) != Class2xx {
		x.told = tellOf(resp.Header)
	}
	// http.Client takes a Location that it cannot read for a failure.
	resp.Header.Del("Location")
	return resp, nil
}

// endStandard ends what a try through net/http left.
func (x *exchange) endStandard() {
	if x.timer == nil {
		return
	}
	x.timer.Stop()
	x.cancel(nil)
	x.timer, x.cancel = nil, nil
}

// dialStandard makes net/http's connections, or has them already.
func (t *transport) dialStandard(ctx context.Context, _, address string) (net.Conn, error) {
	t.mu.Lock()
	if n := len(t.given); n > 0 {
		c := t.given[n-1]
		t.given = t.given[:n-1]
		t.mu.Unlock()
		return c, nil
	}
	t.mu.Unlock()
	raw, err := t.guard.dial(ctx, address, true)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	secure, err := t.handshake(ctx, raw, host)
	switch {
	case err != nil:
		return nil, err // not a nil *tls.Conn
	case t.retired.Load():
		_ = secure.Close()
		return nil, errRetired
	}
	return secure, nil
}

// dialPlain is for net/http, which has no use for it here: left unset, it would
// dial past the guard.
func (t *transport) dialPlain(ctx context.Context, _, address string) (net.Conn, error) {
	return t.guard.dial(ctx, address, false)
}

// give leaves a connection for net/http, which dials when it has none that it
// can use.
func (t *transport) give(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.given = append(t.given, c)
}

// takeBack closes a connection that net/http did not need.
func (t *transport) takeBack(c net.Conn) {
	t.mu.Lock()
	i := slices.Index(t.given, c)
	if i >= 0 {
		t.given = slices.Delete(t.given, i, i+1)
	}
	t.mu.Unlock()
	if i >= 0 {
		_ = c.Close()
	}
}
