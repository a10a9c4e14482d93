package httpsend

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
	"fanjet/subscriber/quiet"
)

// Bounds on what an endpoint may make us read.
const (
	maxResponseHeader = 64 << 10
	maxResponseBody   = 64 << 10
)

// transport makes the tries of one endpoint's exchanges, in HTTP/1.1 (http1.go), or in
// HTTP/2 (http2.go) over connections for which the receiver chose it in the TLS
// handshake. net/http would send requests again on its own, some without end.
//
// It has no method CloseIdleConnections: go-retryablehttp would call it after
// each attempt that failed, and close the connections of others.
type transport struct {
	guard    *egress.Guard
	tls      *tls.Config
	idle     idleConns
	retired  atomic.Bool // another policy is in force
	fullOnly atomic.Bool // the receiver refuses sessions, see sessions.go

	lingering lingering

	random func() float64  // uniform in [0, 1); may be called concurrently
	life   context.Context // of what makes connections beside the attempts
	end    context.CancelFunc
}

func newTransport(slots int, guard *egress.Guard) *transport {
	t := &transport{
		guard: guard,
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
			// A request is written in one piece, and is of no use in smaller ones.
			DynamicRecordSizingDisabled: true,
			ClientSessionCache:          newSessions(),
		},
		idle:      idleConns{max: slots, timeout: idleTimeout},
		lingering: lingering{most: drainTime, wait: bodyWait},
		random:    rand.Float64,
	}
	t.life, t.end = context.WithCancel(context.Background())
	t.idle.renew = t.renew
	return t
}

// closeIdle closes what is not in use, and has nothing made for it any more.
func (t *transport) closeIdle() {
	t.end()
	t.idle.close()
}

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
	x, ok := req.Context().(*Exchange)
	if !ok {
		return nil, errors.New("the request belongs to no exchange")
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	if t.retired.Load() {
		return nil, outcome.ErrRetired
	}
	if err := t.rest(x); err != nil {
		return nil, err
	}
	x.tries++
	x.reused, x.answered = false, false
	x.idle = &t.idle
	// If one connection was dead, others may be: the second try makes its own. One
	// that refused a stream may have been full for a moment; if it is refused again, it
	// may be the connection, so the third try makes another.
	if x.tries == 1 || x.why == reasonRefused && x.untaken != 2 {
		if c := t.idle.take(); c != nil {
			x.reused = true
			return t.send(x, c)
		}
	}
	ctx, cancel := context.WithDeadline(x.Context, x.deadline)
	defer cancel()
	c, err := t.dial(ctx, x.shell.URL)
	if err != nil {
		return nil, err
	}
	return t.send(x, c)
}

// send makes a try over a connection, unless it may be forbidden now.
func (t *transport) send(x *Exchange, c *conn) (*http.Response, error) {
	if t.retired.Load() {
		_ = c.Close()
		return nil, outcome.ErrRetired
	}
	resp, err := x.send(c)
	if n := (*notTaken)(nil); errors.As(err, &n) && n.reason == "" {
		return nil, err // it was not sent
	}
	if x.sends++; x.sends > 1 {
		x.resent = append(x.resent, x.why)
	}
	return resp, err
}

// dial connects to the host of a URL.
func (t *transport) dial(ctx context.Context, target *url.URL) (*conn, error) {
	c, err := t.connect(ctx, target)
	if err != nil {
		return nil, err
	}
	c.target, c.span = target, t.spanOf(time.Now())
	return c, nil
}

func (t *transport) connect(ctx context.Context, target *url.URL) (*conn, error) {
	if target.Scheme == "https" {
		secure, _, err := t.dialTLS(ctx, egress.AddressOf(target), target.Hostname())
		if err != nil {
			return nil, err
		}
		c := newConn(secure)
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			c.http2 = newHTTP2State(c)
		}
		return c, nil
	}
	raw, err := t.guard.Dial(ctx, egress.AddressOf(target), false)
	if err != nil {
		return nil, err
	}
	return newConn(raw), nil
}

// handshake speaks TLS on a connection, which it closes if that fails. offered says
// that it wanted to resume a session.
func (t *transport) handshake(ctx context.Context, raw net.Conn, name string) (_ *tls.Conn, offered bool, _ error) {
	config := t.tls.Clone()
	config.ServerName = name
	sessions := &offer{ClientSessionCache: config.ClientSessionCache}
	if config.ClientSessionCache = sessions; t.fullOnly.Load() {
		config.ClientSessionCache = nil
	}
	secure := tls.Client(&quiet.RecordConn{Conn: raw}, config)
	ctx, cancel := context.WithTimeout(ctx, egress.HandshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, sessions.made, handshakeFailure(err)
	}
	return secure, sessions.made, nil
}
