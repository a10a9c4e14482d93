package httpsend

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// hushProxy forwards connections to a server. Those that were open when it was
// hushed stay open and forward nothing more, like those through a load balancer
// that died.
type hushProxy struct {
	listener net.Listener
	target   string
	quiet    atomic.Int64 // connections up to this number
	accepted atomic.Int64
	wg       sync.WaitGroup
	ended    chan struct{}
}

func newHushProxy(t *testing.T, target string) *hushProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &hushProxy{listener: l, target: target, ended: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() { _ = l.Close(); close(p.ended); p.wg.Wait() })
	return p
}

func (p *hushProxy) hush() { p.quiet.Store(p.accepted.Load()) }

func (p *hushProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		number := p.accepted.Add(1)
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { <-p.ended; _, _ = client.Close(), server.Close() })
		p.wg.Go(func() { p.forward(number, server, client) })
		p.wg.Go(func() { p.forward(number, client, server) })
	}
}

// Write errors show as read errors of the other direction.
func (p *hushProxy) forward(number int64, to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if number > p.quiet.Load() {
			_, _ = to.Write(buf[:n])
		}
	}
}

// An HTTP/2 connection that fell silent is given up, although attempts keep it
// busy all the time: each of them times out, which does not close it.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Error(r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	server.EnableHTTP2 = true
	// A stream that timed out counts until the server answers. A client opens
	// another connection when they are used up, which takes long enough.
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100_000}
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := newHushProxy(t, server.Listener.Addr().String())
	sender := testSender(t, "https://"+proxy.listener.Addr().String(), loopback, func(o *Options) { o.Timeout = 2 * time.Second })
	trusted := sender.transport.tls
	trusted.RootCAs = x509.NewCertPool()
	trusted.RootCAs.AddCert(server.Certificate())

	if r := try(t.Context(), sender, []byte("x")); r.Class != outcome.Class2xx {
		t.Fatalf("%+v", r)
	}
	proxy.hush()
	var delivered atomic.Bool
	var attempts sync.WaitGroup
	deadline := time.Now().Add(2 * time.Minute)
	for i := range 3 {
		attempts.Go(func() {
			<-time.After(time.Duration(i) * sender.timeout / 3) // so that one is always under way
			for !delivered.Load() && time.Now().Before(deadline) {
				if r := try(t.Context(), sender, []byte("x")); r.Class == outcome.Class2xx {
					delivered.Store(true)
				}
			}
		})
	}
	attempts.Wait()
	if !delivered.Load() {
		t.Error("every attempt uses the silent connection")
	}
}
