package httpsend

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// Once another policy is in force, nothing is sent any more over the connections
// of the old one: not over an idle one, nor over one that is being made.
func TestRetiredTransport(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			var requests atomic.Int32
			closed := make(chan struct{}, 4)
			var connections atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if requests.Add(1) == 2 {
					arrived <- struct{}{}
					<-release
				}
			}))
			s.EnableHTTP2 = http2
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					connections.Add(1)
				case http.StateClosed:
					closed <- struct{}{}
				}
			}
			s.StartTLS()
			t.Cleanup(s.Close)
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			sender := testSender(t, s.URL, loopback)
			trust(sender, roots)
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
				t.Fatalf("%+v", r)
			}
			// One is under way when the policy changes: it goes on.
			underWay := make(chan outcome.Result, 1)
			go func() { underWay <- try(t.Context(), sender, []byte("{}")) }()
			<-arrived
			sender.Retire()
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassInterrupted {
				t.Errorf("%+v, want that it is given back", r)
			}
			close(release)
			if r := <-underWay; r.Class != outcome.Class2xx {
				t.Errorf("what was under way: %+v", r)
			}
			<-closed // its connection, at its end
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassInterrupted {
				t.Errorf("%+v, want that it is given back", r)
			}
			if requests.Load() != 2 || connections.Load() != 1 {
				t.Errorf("%d requests over %d connections, want 2 over 1", requests.Load(), connections.Load())
			}
		})
	}
}

// A policy that changes while a connection is being made: it is not used.
func TestRetiredWhileDialling(t *testing.T) {
	t.Parallel()
	port, requests, _ := hits(t, "127.0.0.1:0")
	var sender *Sender
	guard := egress.New(loopback, egress.GuardOptions{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		sender.Retire()
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
	sender = testSenderBehind(t, "http://slow.example:"+port, guard)
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassInterrupted || requests.Load() != 0 {
		t.Errorf("%+v after %d requests, want that it is given back", r, requests.Load())
	}
}
