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
