package httpsend

import (
	"context"
	"crypto/tls"
	"net"
)

// newSessions returns where an endpoint's TLS sessions are kept, so that the next
// connection resumes the latest instead of verifying everything anew: that is most
// of what a connection costs both sides. An endpoint has one name, and so one
// session.
//
// A session belongs to the settings under which it began. crypto/tls checks the
// receiver's certificate and its chain again when it resumes one (Go 1.26,
// handshake_client.go, loadSession), but not what a handshake would have sent, such
// as a client certificate. So each [transport] has its own, and another
// configuration has another transport. Where the connection leads to is judged
// before any handshake.
func newSessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(1) }

// offer notes whether a handshake offers a session to the receiver.
type offer struct {
	tls.ClientSessionCache
	made bool
}

// Get implements [tls.ClientSessionCache].
func (o *offer) Get(key string) (*tls.ClientSessionState, bool) {
	s, ok := o.ClientSessionCache.Get(key)
	o.made = ok && s != nil
	return s, ok
}

// dialTLS connects to an address and shakes hands. Some receivers end a handshake
// in which they are offered a session that they do not want, though they should
// ignore it: then there is a second one without, over another connection, and if
// that helps no more is offered.
func (t *transport) dialTLS(ctx context.Context, address, name string) (secure *tls.Conn, raw net.Conn, err error) {
	refused := false
	for range 2 {
		if raw, err = t.guard.Dial(ctx, address, true); err != nil {
			return nil, nil, err
		}
		var offered bool
		if secure, offered, err = t.handshake(ctx, raw, name); err == nil {
			t.fullOnly.CompareAndSwap(false, refused)
			return secure, raw, nil
		}
		if !offered || ctx.Err() != nil {
			break
		}
		refused = true
		t.tls.ClientSessionCache.Put(name, nil)
	}
	return nil, nil, err
}
