package subscriber

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// rotating is net/http's transport, replaced by another one when its connections
// are old: a connection of HTTP/2 that is never idle is never closed. The streams
// of the old one end in peace, new ones go to the new one.
//
// It has the methods of the transport that are used here. They may be called
// concurrently.
type rotating struct {
	t *transport

	mu         sync.Mutex
	current    *generation // nil: nothing was asked for yet
	next       *generation // has a new connection, and waits for a request; nil: there is none
	renewing   bool        // until that has taken the place of the current one, or does not
	renewAfter time.Time   // not before
}

// generation is one transport of net/http and its connections, mostly one.
type generation struct {
	*http.Transport
	span
	running int         // requests whose responses have not come to their end
	used    time.Time   // when one latest had
	retired bool        // gets no requests any more
	timer   *time.Timer // retires it when it is due and idle; nil: it lives for ever

	fresh net.Conn // for its first request; guarded by rotating.mu
}

// RoundTrip implements [http.RoundTripper].
func (r *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	g, first := r.begin(req, time.Now())
	traced := req
	if first {
		// Others follow when it is known to net/http: until then each would make one of
		// its own.
		traced = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { r.install(g) },
		}))
	}
	resp, err := g.Transport.RoundTrip(traced)
	switch {
	case err != nil:
		r.done(g)
		if first && r.drop(g) && req.Context().Err() == nil {
			return r.RoundTrip(req) // the new connection was dead: nothing was sent
		}
	case resp.Body == http.NoBody:
		r.done(g)
	default:
		resp.Body = &endingBody{ReadCloser: resp.Body, end: func() { r.done(g) }}
	}
	return resp, err
}

// begin picks the generation for a request, and begins to renew it when it is due.
// first says that it has a new connection, and is not the current one yet.
func (r *rotating) begin(req *http.Request, now time.Time) (g *generation, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch g := r.current; {
	case g == nil || g.over(now) || g.isDue(now) && g.rests(now):
		r.become(r.generation(now, nil))
	case g.isDue(now) && r.next != nil:
		g, r.next = r.next, nil
		g.running++
		return g, true
	case g.isDue(now) && !r.renewing && !now.Before(r.renewAfter):
		r.renewing = true
		go r.renew(addressOf(req.URL))
	}
	r.current.running++
	return r.current, false
}

// rests reports whether a generation has not been used for a moment.
func (g *generation) rests(now time.Time) bool {
	return g.running == 0 && now.Sub(g.used) >= agedIdle
}

// generation makes one. The caller holds mu.
func (r *rotating) generation(now time.Time, fresh net.Conn) *generation {
	g := &generation{span: r.t.spanOf(now), used: now, fresh: fresh}
	g.Transport = r.t.newStandard(func(ctx context.Context, network, address string) (net.Conn, error) {
		r.mu.Lock()
		c := g.fresh
		g.fresh = nil
		r.mu.Unlock()
		if c != nil {
			return c, nil
		}
		return r.t.dialStandard(ctx, network, address)
	})
	return g
}

// become has a generation take the place of the current one. The caller holds mu.
func (r *rotating) become(g *generation) {
	if r.current != nil {
		r.retire(r.current)
	}
	if r.current = g; !g.due.IsZero() {
		g.timer = time.AfterFunc(time.Until(g.due), func() { r.rest(g) })
	}
}

// rest retires a generation that is due and that nobody uses: what comes later makes
// a connection of its own.
func (r *rotating) rest(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := time.Now(); {
	case g != r.current:
	case g.rests(now):
		r.retire(g)
		r.current = nil
	default:
		g.timer.Reset(agedIdle)
	}
}

// retire lets a generation end with its last response. The caller holds mu.
func (r *rotating) retire(g *generation) {
	g.retired = true
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.running == 0 {
		g.close()
	}
}

// done notes that a response has come to its end, or that there was none.
func (r *rotating) done(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.running--
	g.used = time.Now()
	if g.running == 0 && g.retired {
		g.close()
	}
}

// close closes the connections of a generation that has no requests. net/http may
// have to clean up behind the latest before it takes one for idle.
func (g *generation) close() {
	go g.CloseIdleConnections()
	time.AfterFunc(time.Second, g.CloseIdleConnections)
}

// renew makes a connection for the generation that is to take the place of the
// current one.
func (r *rotating) renew(address string) {
	ctx, cancel := r.t.renewing()
	defer cancel()
	c, err := r.t.dialSecure(ctx, address)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, ErrBlocked):
		r.renewing = false
		if r.current != nil {
			r.retire(r.current)
			r.current = nil
		}
	case err != nil:
		r.postpone()
	default:
		g := r.generation(time.Now(), c)
		r.next = g
		// With an endpoint that is busy it does not wait for a request.
		time.AfterFunc(agedIdle, func() { r.discard(g) })
	}
}

// postpone lets the current generation go on for a while. The caller holds mu.
func (r *rotating) postpone() { r.renewing, r.renewAfter = false, time.Now().Add(renewWait) }

// discard closes a new connection that no request came for.
func (r *rotating) discard(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == g {
		r.next = nil
		r.dropFresh(g)
		r.postpone()
	}
}

// install makes a generation the current one.
func (r *rotating) install(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !g.retired && r.current != g {
		r.become(g)
		r.renewing = false
	}
}

// drop ends a generation whose first request got no connection. It reports false of
// one that was the current one meanwhile.
func (r *rotating) drop(g *generation) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == g || g.retired {
		return false
	}
	r.retire(g)
	r.dropFresh(g)
	r.postpone()
	return true
}

// dropFresh closes a new connection that net/http did not ask for. The caller holds
// mu.
func (r *rotating) dropFresh(g *generation) {
	if g.fresh != nil {
		_ = g.fresh.Close()
		g.fresh = nil
	}
}

// CloseIdleConnections closes what is not in use.
func (r *rotating) CloseIdleConnections() {
	r.mu.Lock()
	g := r.current
	if r.next != nil {
		r.dropFresh(r.next)
		r.next = nil
	}
	r.mu.Unlock()
	if g != nil {
		g.CloseIdleConnections()
	}
}

// endingBody tells once when a body is closed.
type endingBody struct {
	io.ReadCloser
	end func()
}

// Close implements [io.Closer].
func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	if b.end != nil {
		b.end()
		b.end = nil
	}
	return err
}
