package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections accepts a bounded number of connections at a time: whoever opens
// many must not use up the file descriptors that deliveries need. When there are
// too many, the one that has been idle the longest makes room: so nobody keeps
// others out by connections on which nothing is asked. While a request is being
// answered on every one, others wait.
type connections struct {
	net.Listener
	most int
	// encrypted says that TLS is above, where framing is followed then.
	encrypted bool

	mu     sync.Mutex
	freed  sync.Cond // one has ended, or is idle, or the listener is closed
	all    map[*connection]struct{}
	closed bool
}

func newConnections(l net.Listener, most int, encrypted bool) *connections {
	c := &connections{Listener: l, most: most, encrypted: encrypted, all: make(map[*connection]struct{})}
	c.freed.L = &c.mu
	return c
}

// Accept implements [net.Listener].
func (l *connections) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.all) >= l.most && !l.closed {
		if oldest := l.oldest(); oldest != nil {
			delete(l.all, oldest)
			_ = oldest.Conn.Close()
			continue
		}
		l.freed.Wait()
	}
	if l.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c := &connection{Conn: conn, of: l, idle: time.Now()}
	if !l.encrypted {
		c.framing = &framing{}
	}
	l.all[c] = struct{}{}
	return c, nil
}

// oldest returns the connection that has been idle the longest; nil: none is.
// The caller holds mu.
func (l *connections) oldest() *connection {
	var oldest *connection
	for c := range l.all {
		if c.requests == 0 && (oldest == nil || c.idle.Before(oldest.idle)) {
			oldest = c
		}
	}
	return oldest
}

// Close implements [net.Listener].
func (l *connections) Close() error {
	l.mu.Lock()
	l.closed = true
	l.freed.Broadcast()
	l.mu.Unlock()
	return l.Listener.Close()
}

// connection is one of them.
type connection struct {
	net.Conn
	of *connections
	// framing follows what is read, unless that is encrypted; nil then. There is one
	// reader at a time.
	framing *framing

	// Guarded by of.mu.
	requests int       // that are being answered
	idle     time.Time // since when there is none
}

// Read implements [net.Conn].
func (c *connection) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	if c.framing != nil {
		c.framing.follow(p[:n])
	}
	return n, err
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.all, c)
	c.of.freed.Signal()
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends what the client reads. net/http asks for it: it lets one that
// still sends read the answer before the connection is closed.
func (c *connection) CloseWrite() error {
	if conn, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return nil
}

// answers notes that a request is being answered, until end is called.
func (c *connection) answers() (end func()) {
	c.of.mu.Lock()
	c.requests++
	c.of.mu.Unlock()
	return func() {
		c.of.mu.Lock()
		c.requests--
		c.idle = time.Now()
		c.of.freed.Signal()
		c.of.mu.Unlock()
	}
}

type connectionKey struct{}

// withConnection lets requests know their connection; see [http.Server].
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*encryptedConn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return context.WithValue(ctx, connectionKey{}, c)
}

// answering notes that a request is being answered, until end is called.
func answering(r *http.Request) (end func()) {
	if c, _ := r.Context().Value(connectionKey{}).(*connection); c != nil {
		return c.answers()
	}
	return func() {}
}
