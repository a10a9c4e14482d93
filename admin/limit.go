package admin

import (
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of one client: a token, or an address without one.
const (
	requestRate, requestBurst = 50, 200 // a second
	failureRate, failureBurst = 0.5, 10 // wrong tokens
	maxClients                = 4096    // that are told apart
)

// clientLimits lets each client do so much in a second. It remembers a bounded
// number of them; while there are more, those that are not known share a limit.
type clientLimits struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex
	clients map[string]*client
	others  *rate.Limiter
	swept   time.Time
}

type client struct {
	limiter *rate.Limiter
	seen    time.Time
}

func newClientLimits(perSecond rate.Limit, burst int) *clientLimits {
	return &clientLimits{rate: perSecond, burst: burst, clients: make(map[string]*client), others: rate.NewLimiter(perSecond, burst)}
}

// allow takes one from what a client may do. If there is none left it says after
// how long there will be.
func (l *clientLimits) allow(name string, now time.Time) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter := l.others
	c := l.clients[name]
	if c == nil && len(l.clients) >= maxClients {
		l.sweep(now)
	}
	if c == nil && len(l.clients) < maxClients {
		c = &client{limiter: rate.NewLimiter(l.rate, l.burst)}
		l.clients[name] = c
	}
	if c != nil {
		limiter, c.seen = c.limiter, now
	}
	r := limiter.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return false, wait
	}
	return true, 0
}

// sweep forgets the clients that have all their allowance again, at most once a
// second.
func (l *clientLimits) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	full := time.Duration(float64(l.burst) / float64(l.rate) * float64(time.Second))
	for name, c := range l.clients {
		if now.Sub(c.seen) >= full {
			delete(l.clients, name)
		}
	}
}

// clientAddress is the address that a request came from. Of an IPv6 address it
// is the network: a single host has all of that.
func clientAddress(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil || ip.IsLoopback() {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String() + "/64"
}

// limitedListener accepts a bounded number of connections at a time. Others wait
// in the backlog of the system: whoever opens many must not use up the file
// descriptors that deliveries need.
type limitedListener struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newLimitedListener(l net.Listener, most int) *limitedListener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, most), ended: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements [net.Listener].
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite ends what the client reads. net/http asks for it: it lets one that
// still sends read the answer before the connection is closed.
func (c *limitedConn) CloseWrite() error {
	if conn, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return nil
}
