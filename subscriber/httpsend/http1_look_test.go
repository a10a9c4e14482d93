package httpsend

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// route is a way to a receiver: what is spoken over TLS.
type route struct {
	name                      string
	proxy, proxyTLS, receiver bool
}

var routes = []route{
	{"http", false, false, false},
	{"https", false, false, true},
	{"http through a proxy", true, false, false},
	{"https through a proxy", true, false, true},
	{"http through TLS with a proxy", true, true, false},
	{"https through TLS with a proxy", true, true, true},
}

// stack is the far end of a connection: below each layer of TLS is what holds
// back what that layer writes.
type stack struct {
	net.Conn
	held []*corked // the lowest first
}

// accept takes a connection as proxy, if there is one, and as receiver.
func (r route) accept(raw net.Conn, config *tls.Config) *stack {
	s := &stack{}
	cork := func(c net.Conn) net.Conn {
		s.held = append(s.held, &corked{Conn: c})
		return s.held[len(s.held)-1]
	}
	s.Conn = cork(raw)
	if r.proxyTLS {
		s.Conn = tls.Server(s.Conn, config)
	}
	if r.proxy {
		if _, err := http.ReadRequest(bufio.NewReader(s)); err != nil {
			return nil
		}
		_, _ = io.WriteString(s, "HTTP/1.1 200 Connection established\r\n\r\n")
		s.flush()
	}
	if r.receiver {
		s.Conn = tls.Server(cork(s.Conn), config)
	}
	return s
}

// flush writes what is held back.
func (s *stack) flush() {
	for _, h := range slices.Backward(s.held) {
		_ = h.flush()
	}
}

// sender sends to a receiver on that way.
func (r route) sender(t *testing.T, s *rawReceiver) *Sender {
	t.Helper()
	_, roots := testCertificate(t)
	policy, scheme := loopback, "http"
	if r.receiver {
		scheme = "https"
	}
	address := scheme + "://" + s.Addr().String()
	if r.proxy {
		proxy := "http"
		if r.proxyTLS {
			proxy = "https"
		}
		policy = through(t, proxy+"://"+s.Addr().String(), policy)
		address = scheme + "://127.0.0.1:1/" // it is the proxy who is asked
	}
	sender := testSender(t, address, policy)
	trust(sender, roots)
	if r.proxyTLS {
		sender.transport.guard = egress.New(policy, egress.GuardOptions{ProxyRoots: roots})
	}
	return sender
}

// What comes over a connection that nobody asked for is not the answer to the
// next request, whichever way it takes, wherever it lies and whatever it is.
func TestIdleConnectionIsLookedAt(t *testing.T) {
	t.Parallel()
	const answer, unasked = "HTTP/1.1 204 x\r\n\r\n", "HTTP/1.1 200 unasked\r\nContent-Length: 0\r\n\r\n"
	certificate, _ := testCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	say := func(text string) func(*stack) { return func(s *stack) { _, _ = io.WriteString(s, text) } }
	half := func(layer int) func(*stack) {
		return func(s *stack) {
			if layer < len(s.held) {
				for _, above := range s.held[layer+1:] {
					_ = above.flush() // so that the answer has a record of its own
				}
				_, _ = io.WriteString(s, unasked)
				s.held[layer].keep = 10
			}
		}
	}
	end := func(s *stack) {
		if c, ok := s.Conn.(*tls.Conn); ok {
			_ = c.CloseWrite()
		}
	}
	for _, tt := range []struct {
		name  string
		tls   int          // how many layers of TLS are needed to do that
		with  func(*stack) // what is said in one piece with the answer
		later func(*stack) // or when the answer has arrived
		kept  bool
	}{
		{name: "nothing", kept: true},
		{name: "an answer", with: say(unasked)},
		{name: "an answer, later", later: say(unasked)},
		{name: "a timeout, later", later: say("HTTP/1.1 408 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")},
		{name: "an interim answer, later", later: say("HTTP/1.1 100 Continue\r\n\r\n" + unasked)},
		{name: "a byte, later", later: say("H")},
		{name: "the end of TLS", tls: 1, with: end},
		{name: "the end of TLS, later", tls: 1, later: end},
		{name: "half a record", tls: 1, with: half(0)},
		{name: "half a record of the upper layer", tls: 2, with: half(1)},
		{name: "the end, later", later: func(s *stack) { s.flush(); _ = s.held[0].Conn.(*net.TCPConn).CloseWrite() }},
		{name: "a reset, later", later: func(s *stack) { _ = s.held[0].Conn.(*net.TCPConn).SetLinger(0); _ = s.held[0].Conn.Close() }},
	} {
		for _, way := range routes {
			layers := map[bool]int{true: 1}
			if layers[way.proxyTLS]+layers[way.receiver] < tt.tls {
				continue
			}
			t.Run(tt.name+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				for _, body := range [][]byte{[]byte("{}"), nil} {
					later := make(chan struct{})
					receiver := newRawReceiver(t, func(r *rawReceiver, raw net.Conn) {
						s := way.accept(raw, config)
						if s == nil {
							return
						}
						for b := bufio.NewReader(s); r.read(b) != nil; {
							for _, h := range s.held {
								h.keep = 0 // the rest goes first
							}
							_, _ = io.WriteString(s, answer)
							if tt.with != nil {
								tt.with(s)
							}
							if s.flush(); tt.later != nil {
								select {
								case <-later:
								case <-r.done:
									return
								}
								tt.later(s)
								s.flush()
							}
						}
					})
					sender := way.sender(t, receiver)
					for i := range 3 {
						if r := try(t.Context(), sender, body); r.Status != 204 {
							t.Fatalf("attempt %d with %d bytes: %+v", i+1, len(body), r)
						}
						if tt.later != nil {
							later <- struct{}{}
							sender.transport.idle.awaitBytes(t)
						}
					}
					want := map[bool]int32{true: 1, false: 3}[tt.kept]
					if n, c := receiver.requests.Load(), receiver.connections.Load(); n != 3 || c != want {
						t.Errorf("%d requests over %d connections, want 3 over %d", n, c, want)
					}
				}
			})
		}
	}
}

// awaitBytes waits until something arrives over the idle connection.
func (p *idleConns) awaitBytes(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := time.After(10 * time.Second)
	for c := p.conns[0]; !c.quiet.Waiting(); runtime.Gosched() {
		select {
		case <-limit:
			t.Fatal("nothing arrives")
		default:
		}
	}
}

// A proxy that says something behind its answer to CONNECT is not believed in,
// also when that comes in a record of its own.
func TestProxySaysMoreInAnotherRecord(t *testing.T) {
	t.Parallel()
	certificate, roots := testCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	s := newRawReceiver(t, func(r *rawReceiver, raw net.Conn) {
		below := &corked{Conn: raw}
		c := tls.Server(below, config)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = below.flush()
		<-r.done
	})
	policy := through(t, "https://"+s.Addr().String(), loopback)
	sender := testSender(t, "http://127.0.0.1:1/", policy)
	sender.transport.guard = egress.New(policy, egress.GuardOptions{ProxyRoots: roots})
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassConnect || !strings.Contains(r.Failure(), "something follows the answer") {
		t.Errorf("%+v", r)
	}
}
