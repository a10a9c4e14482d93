// Package quiet sees whether something came over a connection that nobody asked for:
// in the socket, or in any layer of TLS above it.
package quiet

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// RecordConn is below a layer of TLS. It follows the records in what TLS reads,
// which reads ahead: part of a record may lie in its buffer, where neither the
// socket nor what is decrypted shows it.
type RecordConn struct {
	net.Conn
	head [5]byte // of a record: one byte of type, two of version, two of length
	have int     // bytes of head that were read
	left int     // bytes of the record that were not read yet
	out  int     // records that were written
}

// Write implements [net.Conn]. TLS calls it once for each record (Go 1.26,
// crypto/tls, Conn.write), and more than once only in handshakes.
func (c *RecordConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		c.out++
	}
	return n, err
}

// Read implements [net.Conn].
func (c *RecordConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.follow(p[:n])
	return n, err
}

// follow counts b among what was read.
func (c *RecordConn) follow(b []byte) {
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
func (c *RecordConn) within() bool { return c.have > 0 || c.left > 0 }

// NetConn returns what is below, as [crypto/tls.Conn.NetConn] does.
func (c *RecordConn) NetConn() net.Conn { return c.Conn }

// layersOf returns the layers of TLS of a connection, and the connection that is
// below all of them: through a proxy that is spoken to over TLS there are two.
func layersOf(c net.Conn) (records []*RecordConn, bottom net.Conn) {
	for {
		if r, ok := c.(*RecordConn); ok {
			records = append(records, r)
		}
		above, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return records, c
		}
		c = above.NetConn()
	}
}

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

// Look looks at a connection for bytes that nobody asked for. They may be
// anywhere: in the socket, decrypted in any layer of TLS, or as a part of a record.
// It must not be copied, and is used by one goroutine at a time.
type Look struct {
	conn    net.Conn
	bottom  net.Conn        // what is below all layers of TLS
	records []*RecordConn   // below each layer of TLS, the uppermost first
	socket  syscall.RawConn // nil: there is none to look at
	look    func(fd uintptr)
	silent  bool // what look saw: no byte waits, and the peer has not hung up
}

// Begin has it look at a connection, of whose layers of TLS each has a [RecordConn]
// below it.
func (l *Look) Begin(c net.Conn) {
	records, bottom := layersOf(c)
	*l = Look{conn: c, bottom: bottom, records: records, socket: socketOf(bottom)}
	l.look = func(fd uintptr) { l.silent = isSilent(fd) }
}

// Abort closes what is below all layers at once, without a farewell.
func (l *Look) Abort() { _ = l.bottom.Close() }

// Waiting reports whether something waits in the socket. Where that cannot be seen
// it may.
func (l *Look) Waiting() bool {
	return l.socket == nil || l.socket.Control(l.look) == nil && !l.silent
}

// Quiet reports whether nothing came, or was read in part. It leaves a time that is
// over for the next read.
func (l *Look) Quiet() bool {
	if l.socket != nil && (l.socket.Control(l.look) != nil || !l.silent) {
		return false
	}
	if len(l.records) == 0 {
		return true
	}
	// A time that is over keeps every layer from the one below, but for what that has
	// decrypted already.
	var b [1]byte
	_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	if n, err := l.conn.Read(b[:]); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	return !l.Within()
}

// Within reports whether a record was read in part, in any layer.
func (l *Look) Within() bool { return slices.ContainsFunc(l.records, (*RecordConn).within) }

// RecordsWritten counts the records that were written in the uppermost layer of TLS;
// there must be one.
func (l *Look) RecordsWritten() int { return l.records[0].out }
