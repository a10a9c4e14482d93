package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 16 << 10
	// queued is how many chunks are under way in one direction: what a network
	// holds before the sender feels that nothing arrives.
	queued = 64
)

// pair is a connection to the proxy, and the one from there to the target.
type pair struct {
	proxy  *Proxy
	ctx    context.Context // ends with the pair
	cancel context.CancelFunc
	client *net.TCPConn

	stranded bool // with the lock of the proxy

	mu     sync.Mutex
	server *net.TCPConn // nil: not connected yet
}

func newPair(p *Proxy, client *net.TCPConn) *pair {
	c := &pair{proxy: p, client: client}
	c.ctx, c.cancel = context.WithCancel(p.ctx)
	return c
}

// reset ends both connections as a crash would: the peers get an RST, and what is
// under way is gone.
func (c *pair) reset() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range []*net.TCPConn{c.client, c.server} {
		if conn != nil {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

// close ends connections whose both directions have ended in order: what the
// kernel still holds for the peers is theirs.
func (c *pair) close() {
	defer c.cancel()
	_ = c.client.Close()
	_ = c.server.Close()
}

// run connects to the target and passes on until both directions have ended.
func (c *pair) run() {
	defer c.proxy.remove(c)
	// A black hole swallows the first packet, too.
	if !c.pass(ToServer, time.Now()) {
		c.reset()
		return
	}
	var dialer net.Dialer
	server, err := dialer.DialContext(c.ctx, "tcp", c.proxy.target)
	if err != nil {
		c.reset()
		return
	}
	c.mu.Lock()
	c.server = server.(*net.TCPConn)
	c.mu.Unlock()
	if c.ctx.Err() != nil {
		c.reset() // again: it was not known the first time
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(c.server, c.client, ToServer) })
	both.Go(func() { c.pump(c.client, c.server, ToClient) })
	both.Wait()
	c.close()
}

// chunk is something that was received.
type chunk struct {
	data []byte
	at   time.Time
}

// pump passes on one direction. An orderly end is passed on as one; anything else
// resets the pair.
func (c *pair) pump(to, from *net.TCPConn, d Direction) {
	queue := make(chan chunk, queued)
	var end error // why reading ended; read it after the queue is closed
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, chunkSize)
			n, err := from.Read(buf)
			if end = err; n == 0 && err != nil {
				return
			}
			select {
			case queue <- chunk{buf[:n], time.Now()}:
			case <-c.ctx.Done():
				return
			}
		}
	})
	defer reading.Wait()
	for next := range queue {
		if !c.pass(d, next.at) || !c.write(to, next.data) {
			c.reset()
			return
		}
	}
	if !c.pass(d, time.Now()) || !errors.Is(end, io.EOF) || to.CloseWrite() != nil {
		c.reset()
	}
}

// pass waits until what was received at a time may go on. It reports false when
// the pair has ended.
func (c *pair) pass(d Direction, received time.Time) bool {
	for {
		fault, changed := c.proxy.now(c)
		var due <-chan time.Time // nil: never
		if fault.BlackHole&d == 0 {
			wait := time.Until(received.Add(fault.Delay))
			if wait <= 0 {
				return c.ctx.Err() == nil
			}
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
}

// write sends at the rate of the fault, and reports whether it could.
func (c *pair) write(to *net.TCPConn, data []byte) bool {
	for len(data) > 0 {
		fault, changed := c.proxy.now(c)
		n := len(data)
		if fault.Rate > 0 {
			n = min(n, max(fault.Rate/50, 1))
		}
		if _, err := to.Write(data[:n]); err != nil {
			return false
		}
		data = data[n:]
		if fault.Rate <= 0 {
			continue
		}
		select {
		case <-time.After(time.Duration(n) * time.Second / time.Duration(fault.Rate)):
		case <-changed:
		case <-c.ctx.Done():
			return false
		}
	}
	return true
}
