package httpsend

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"fanjet/subscriber/quiet"
)

const (
	// idleTimeout is how long a connection is kept that nobody uses.
	idleTimeout = 90 * time.Second
	// maxIdle bounds the connections that the process keeps and nobody uses: a
	// file descriptor is one each, and ten thousand endpoints would have the most
	// of them at the worst moment, when all are in trouble.
	maxIdle = 4096
)

// IdleLimit bounds the idle connections of all endpoints together.
type IdleLimit struct {
	max  int64
	kept atomic.Int64
}

// NewIdleLimit is the limit for all endpoints of a process.
func NewIdleLimit() *IdleLimit { return &IdleLimit{max: maxIdle} }

// add counts n more, or, below zero, fewer.
func (l *IdleLimit) add(n int) {
	if l != nil {
		l.kept.Add(int64(n))
	}
}

// full reports whether no more are kept.
func (l *IdleLimit) full() bool { return l != nil && l.kept.Load() >= l.max }

// timeout is how long a connection may be idle: as long as usual while there is
// plenty of room, and much less when it becomes scarce.
func (l *IdleLimit) timeout(usual time.Duration) time.Duration {
	if l == nil || l.kept.Load() < l.max/2 {
		return usual
	}
	return usual / 16
}

// conn is a connection to an endpoint, for one request at a time.
type conn struct {
	net.Conn
	http2     *http2State // nil: it speaks HTTP/1.1
	quiet     quiet.Look
	looks     bool // Read looks at the socket once more when the time is up
	idleSince time.Time

	span
	target   *url.URL
	renewing bool // another one is being made; guarded by idleConns.mu
	replaced bool // it was; guarded by idleConns.mu

	done   <-chan struct{} // of the context whose end closes the connection
	detach func() bool     // from that context
}

func newConn(c net.Conn) *conn {
	out := &conn{Conn: c}
	out.quiet.Begin(c)
	return out
}

// usable reports whether a request can go over a connection that was idle. One
// with bytes in it that nobody asked for cannot: they would be taken for the
// answer.
func (c *conn) usable() bool {
	if c.http2 != nil {
		return c.http2.ready()
	}
	return c.quiet.Quiet()
}

// abort closes it at once, without a farewell.
func (c *conn) abort() { c.quiet.Abort() }

// watch closes the connection at once when ctx ends. It goes on after the
// exchange: the next one usually has the same context.
func (c *conn) watch(ctx context.Context) {
	if c.detach != nil {
		if c.done == ctx.Done() {
			return
		}
		c.detach()
	}
	c.done, c.detach = ctx.Done(), context.AfterFunc(ctx, c.abort)
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	if c.detach != nil {
		c.detach()
	}
	return c.Conn.Close()
}

// idleConns are the connections of an endpoint that nobody uses, at most max.
// The one that was used last is used first, so that those too many grow old.
type idleConns struct {
	max     int
	timeout time.Duration
	limit   *IdleLimit  // nil: none
	renew   func(*conn) // makes another one to take the place of one that is due

	mu         sync.Mutex
	conns      []*conn     // by the time since which they are idle, the oldest first
	timer      *time.Timer // runs while there are any; made with the first
	wake       time.Time   // when it does; zero: it does not run
	closed     bool        // since nothing was taken any more
	renewAfter time.Time   // not before
}

// take returns a connection that can be used, nil if there is none.
func (p *idleConns) take() *conn {
	for {
		c := p.pop()
		if c == nil || c.usable() {
			return c
		}
		_ = c.Close()
	}
}

func (p *idleConns) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = false
	last := len(p.conns) - 1
	if last < 0 {
		return nil
	}
	c := p.conns[last]
	p.conns[last] = nil
	p.conns = p.conns[:last]
	p.limit.add(-1)
	return c
}

// put keeps a connection for the next request.
func (p *idleConns) put(c *conn) {
	if !p.keep(c) {
		_ = c.Close()
	}
}

func (p *idleConns) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.closed || len(p.conns) >= p.max || p.limit.full() || !p.ages(c, now) {
		return false
	}
	p.limit.add(1)
	c.idleSince = now
	p.conns = append(p.conns, c)
	p.wakeAt(now, c.expiry(p.limit.timeout(p.timeout)))
	return true
}

// wakeAt has expire called at a time, unless that happens sooner. The caller holds
// mu.
func (p *idleConns) wakeAt(now, at time.Time) {
	if !p.wake.IsZero() && !at.Before(p.wake) {
		return
	}
	p.wake = at
	if p.timer == nil {
		p.timer = time.AfterFunc(at.Sub(now), p.expire)
		return
	}
	p.timer.Reset(at.Sub(now))
}

// expire closes what has been idle for too long, and comes again for the rest.
func (p *idleConns) expire() {
	p.mu.Lock()
	now, timeout, next := time.Now(), p.limit.timeout(p.timeout), time.Time{}
	old := p.remove(func(c *conn) bool {
		at := c.expiry(timeout)
		if !now.Before(at) {
			return true
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return false
	})
	if p.wake = (time.Time{}); !next.IsZero() {
		p.wakeAt(now, next)
	}
	p.mu.Unlock()
	closeAll(old)
}

// close closes the idle connections, and those that are in use when they are
// given back, until one is asked for again.
func (p *idleConns) close() {
	p.mu.Lock()
	old := p.conns
	p.conns, p.closed = nil, true
	p.limit.add(-len(old))
	if p.timer != nil {
		p.timer.Stop()
	}
	p.wake = time.Time{}
	p.mu.Unlock()
	closeAll(old)
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}
