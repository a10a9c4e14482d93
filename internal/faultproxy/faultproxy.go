// Package faultproxy is a TCP proxy for tests that breaks connections on demand,
// the way networks do.
//
// What a connection carries is never changed, reordered or lost in its middle:
// TCP does not do that either. A black hole keeps what it takes and passes it on
// when it is healed, as retransmission would; a cut ends connections with a reset
// and drops what is under way.
//
// It is not github.com/Shopify/toxiproxy (MIT), which was tried as a library
// (v2.5.0 of September 2022, the newest that the module proxy of Go has):
//
//   - Its black hole, the toxic "timeout", drops what it takes, and closes the
//     connection when it is removed. Ours is a partition that heals: the tests of
//     failover live on what arrives late.
//   - Its reset begins with the next byte, so an idle connection is never reset,
//     and one that was there before the toxic gets an orderly end.
//   - Stopping the proxy refuses new connections, but it closes those that there
//     are, too, in an orderly way.
//   - Toxics concern all connections of a proxy: those that exist cannot be
//     stranded while new ones work.
//   - Stopping does not wait for its goroutines, of which goleak would speak.
//   - It accepts before the black hole: the target gets the connection.
//   - It takes zerolog, gorilla/mux, tomb and an HTTP server for its control into
//     go.mod; toxics are added as JSON.
//
// What it can do besides, jitter and slices of random size, no test needs.
package faultproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Direction is one, both or none of the two ways through the proxy.
type Direction uint8

// The directions. The zero value is none.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// Fault is what is wrong with the network. The zero value: nothing.
type Fault struct {
	Refuse    bool          // new connections are reset at once; those that exist are not touched
	BlackHole Direction     // connections are accepted, and nothing comes through
	Delay     time.Duration // everything comes so much later, in either direction
	Rate      int           // bytes a second of each connection in each direction; 0: no limit
}

// Proxy passes connections on to one target. Its methods may be called
// concurrently.
type Proxy struct {
	listener net.Listener
	target   string
	ctx      context.Context
	cancel   context.CancelFunc
	ended    sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed when fault is replaced
	pairs   map[*pair]struct{}
}

// Start listens on a free port of 127.0.0.1 and passes connections on to the
// target, a host:port that need not be there yet. Close the proxy after use.
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, changed: make(chan struct{}), pairs: make(map[*pair]struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ended.Go(p.accept)
	return p, nil
}

// Addr is the host:port that clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set replaces the fault. Connections that exist are subject to it at once.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
}

// Heal ends the fault.
func (p *Proxy) Heal() { p.Set(Fault{}) }

// Cut resets every connection, on both sides. New ones are subject to the fault
// alone. It returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
	n := len(p.pairs)
	clear(p.pairs)
	return n
}

// Strand silences the connections that exist, for ever and in both directions, as
// a firewall does that has forgotten them: nobody gets a word, not even of the
// end. New ones are subject to the fault alone. It returns how many there were.
func (p *Proxy) Strand() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.stranded = true
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return len(p.pairs)
}

// Connections is how many connections pass through the proxy now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Close stops listening, resets every connection, and waits until nothing runs
// any more.
func (p *Proxy) Close() {
	p.cancel()
	_ = p.listener.Close()
	p.Cut()
	p.ended.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		c := newPair(p, client.(*net.TCPConn))
		if !p.add(c) {
			c.reset()
			continue
		}
		p.ended.Go(c.run)
	}
}

// add takes a connection on unless the proxy refuses it.
func (p *Proxy) add(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault.Refuse || p.ctx.Err() != nil {
		return false
	}
	p.pairs[c] = struct{}{}
	return true
}

func (p *Proxy) remove(c *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
}

// now returns the fault that a connection is subject to, and what is closed when
// that changes.
func (p *Proxy) now(c *pair) (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.stranded {
		return Fault{BlackHole: Both}, p.changed
	}
	return p.fault, p.changed
}
