package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
)

// encrypted speaks TLS on the connections of another listener. net/http could do that,
// but it knows TLS by the type [tls.Conn] alone: nothing can stand above that to look
// at requests, which are read only there.
type encrypted struct {
	net.Listener
	config *tls.Config
	log    *log.Logger
}

// Accept implements [net.Listener]. It does not wait for the handshake.
func (l *encrypted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &encryptedConn{Conn: tls.Server(conn, l.config), log: l.log}, nil
}

// encryptedConn is one of them.
type encryptedConn struct {
	*tls.Conn
	log     *log.Logger
	framing framing // there is one reader at a time
}

// ConnectionState makes the handshake, and says what came of it. net/http asks for it
// before it reads, in the goroutine of the connection, to set [http.Request.TLS]; after
// a handshake that failed, it cannot read either.
func (c *encryptedConn) ConnectionState() tls.ConnectionState {
	// When the time is over, the connection is closed.
	ctx, cancel := context.WithTimeout(context.Background(), readHeaderTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		c.log.Printf("TLS handshake error from %s: %v", c.RemoteAddr(), err)
		if header, ok := errors.AsType[tls.RecordHeaderError](err); ok && header.Conn != nil && isHTTP(header.RecordHeader) {
			_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis is HTTP, and the server speaks HTTPS.\n")
		}
	}
	return c.Conn.ConnectionState()
}

// isHTTP reports whether a request begins like this, instead of a record of TLS.
func isHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// Read implements [net.Conn].
func (c *encryptedConn) Read(p []byte) (n int, err error) {
	n, err = c.Conn.Read(p)
	c.framing.follow(p[:n])
	return n, err
}
