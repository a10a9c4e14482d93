package subscriber

import (
	"encoding/binary"
	"net"
	"slices"
	"syscall"
	"time"
)

// recordConn is below a layer of TLS. It follows the records in what TLS reads,
// which reads ahead: part of a record may lie in its buffer, where neither the
// socket nor what is decrypted shows it.
type recordConn struct {
	net.Conn
	head [5]byte // of a record: one byte of type, two of version, two of length
	have int     // bytes of head that were read
	left int     // bytes of the record that were not read yet
	out  int     // records that were written
}

// Write implements [net.Conn]. TLS calls it once for each record (Go 1.26,
// crypto/tls, Conn.write), and more than once only in handshakes.
func (c *recordConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		c.out++
	}
	return n, err
}

// Read implements [net.Conn].
func (c *recordConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.follow(p[:n])
	return n, err
}

// follow counts b among what was read.
func (c *recordConn) follow(b []byte) {
	for len(b) > 0 {
		if c.left > 0 {
			n := min(c.left, len(b))
			c.left, b = c.left-n, b[n:]
			continue
		}
		n := copy(c.head[c.have:], b)
		c.have, b = c.have+n, b[n:]
		if c.have == len(c.head) {
			c.have, c.left = 0, int(binary.BigEndian.Uint16(c.head[3:]))
		}
	}
}

// within reports whether a record was read in part.
func (c *recordConn) within() bool { return c.have > 0 || c.left > 0 }

// NetConn returns what is below, as [crypto/tls.Conn.NetConn] does.
func (c *recordConn) NetConn() net.Conn { return c.Conn }

// layersOf returns the layers of TLS of a connection, and the connection that is
// below all of them: through a proxy that is spoken to over TLS there are two.
func layersOf(c net.Conn) (records []*recordConn, bottom net.Conn) {
	for {
		if r, ok := c.(*recordConn); ok {
			records = append(records, r)
		}
		above, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return records, c
		}
		c = above.NetConn()
	}
}

// usable reports whether a request can go over a connection that was idle. One
// with bytes in it that nobody asked for cannot: they would be taken for the
// answer. They may be anywhere: in the socket, decrypted in any layer of TLS, or
// as a part of a record.
func (c *conn) usable() bool {
	if c.http2 != nil {
		return c.http2.ready()
	}
	if c.socket != nil && (c.socket.Control(c.look) != nil || !c.silent) {
		return false
	}
	if len(c.records) == 0 {
		return true
	}
	// A time that is over keeps every layer from the one below, but for what that has
	// decrypted already.
	var b [1]byte
	_ = c.SetReadDeadline(time.Unix(1, 0))
	if n, err := c.Read(b[:]); n > 0 || !isTimeout(err) {
		return false
	}
	return !c.within()
}

// within reports whether a record was read in part, in any layer.
func (c *conn) within() bool { return slices.ContainsFunc(c.records, (*recordConn).within) }

// written counts the records that were written in the uppermost layer of TLS; there
// must be one.
func (c *conn) written() int { return c.records[0].out }

// socketOf is the socket of a connection, nil if there is none to look at.
func socketOf(bottom net.Conn) syscall.RawConn {
	s, ok := bottom.(syscall.Conn)
	if !ok {
		return nil
	}
	socket, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return socket
}
