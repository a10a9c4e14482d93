package subscriber

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// roomAfter is how long after an attempt idle connections of HTTP/2 are closed,
// when the process keeps too many.
const roomAfter = time.Second

// streamError is a stream of HTTP/2 that was ended. net/http does not export
// its own error, but turns it into any struct with these fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string {
	return fmt.Sprintf("the stream %d was ended with the code %d", e.StreamID, e.Code)
}

// errRefused means that a receiver did not take a request, or is about to close
// the connection, and net/http would have sent it once more.
var errRefused = errors.New("the receiver refused the stream, or is closing the connection (HTTP/2)")

// onceBody is the body of a request through net/http, which sends it up to
// seven times when a receiver refuses it over HTTP/2. Here it does so only as
// long as nothing of the body was taken: a receiver must not see a request twice
// in one attempt, except as [retryDeadConnection] says.
type onceBody struct {
	reader bytes.Reader
	taken  atomic.Bool
}

func newOnceBody(body []byte) *onceBody {
	b := new(onceBody)
	b.reader.Reset(body)
	return b
}

// Read implements [io.Reader].
func (b *onceBody) Read(p []byte) (int, error) {
	b.taken.Store(true)
	return b.reader.Read(p)
}

// Close implements [io.Closer]. There is nothing to close.
func (b *onceBody) Close() error { return nil }

// again is for [http.Request.GetBody].
func (b *onceBody) again() (io.ReadCloser, error) {
	if b.taken.Load() {
		return nil, errRefused
	}
	return b, nil
}

// countedConn is below TLS. From begin until it is closed it counts among the
// connections that the process keeps: one that speaks HTTP/2 belongs to
// net/http, which does not say when it is idle.
type countedConn struct {
	net.Conn
	limit   *idleLimit
	counted atomic.Bool
}

func (c *countedConn) begin() {
	if !c.counted.Swap(true) {
		c.limit.add(1)
	}
}

// NetConn returns what is below, as [crypto/tls.Conn.NetConn] does.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	if c.counted.Swap(false) {
		c.limit.add(-1)
	}
	return c.Conn.Close()
}

// makeRoom closes the endpoint's connections of HTTP/2 that are idle in a
// moment, if the process keeps too many.
func (t *transport) makeRoom() {
	if t.idle.limit.full() && !t.tight.Swap(true) {
		time.AfterFunc(roomAfter, func() {
			t.tight.Store(false)
			t.standard.CloseIdleConnections()
		})
	}
}
