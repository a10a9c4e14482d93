package httpsend

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// secureReceiver is a receiver with TLS that counts its connections.
func secureReceiver(t *testing.T, http2 bool, h http.HandlerFunc) (s *httptest.Server, roots *x509.CertPool, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots, connections
}

// A receiver gets the protocol that it chooses, over one connection, and the
// same request either way.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			want := map[bool]int{false: 1, true: 2}[http2]
			s, roots, connections := secureReceiver(t, http2, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				switch {
				case r.ProtoMajor != want:
					t.Error(r.Proto)
				case string(body) != "{}" && len(body) != 0, r.ContentLength != int64(len(body)):
					t.Errorf("%d bytes of %d: %q", len(body), r.ContentLength, body)
				case r.Method != http.MethodPost, r.RequestURI != "/hook?a=b", r.Host != r.Header.Get("X-Host"):
					t.Errorf("%s %s at %s", r.Method, r.RequestURI, r.Host)
				case r.UserAgent() != "Fanjet/1.2.3", r.Header.Get("Webhook-Id") != "msg_1", r.Header.Get("Accept-Encoding") != "":
					t.Errorf("%v", r.Header)
				}
				w.Header().Set("Location", "http://[::x") // that nobody can read, nor has to
				w.WriteHeader(http.StatusFound)
				_, _ = io.WriteString(w, "moved")
			})
			sender := testSender(t, s.URL+"/hook?a=b", loopback, func(o *Options) {
				o.Headers = http.Header{"X-Host": {strings.TrimPrefix(s.URL, "https://")}}
			})
			trust(sender, roots)
			for _, body := range [][]byte{[]byte("{}"), nil, []byte("{}")} {
				if r := try(t.Context(), sender, body); r.Status != 302 || r.Err != nil {
					t.Errorf("%+v", r)
				}
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Attempts at once, with bodies larger than the window of a stream, all arrive.
func TestManyAttemptsAtOnceOverHTTP2(t *testing.T) {
	t.Parallel()
	s, roots, _ := secureReceiver(t, true, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "ok")
	})
	sender := testSender(t, s.URL, loopback)
	trust(sender, roots)
	body := bytes.Repeat([]byte("x"), 100<<10)
	var attempts sync.WaitGroup
	for range 16 {
		attempts.Go(func() {
			for range 4 {
				if r := try(t.Context(), sender, body); r.Status != 200 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
	attempts.Wait()
}

// The address is checked.
func TestSecureConnectionsObeyThePolicy(t *testing.T) {
	t.Parallel()
	s, roots, connections := secureReceiver(t, true, func(http.ResponseWriter, *http.Request) { t.Error("it was reached") })
	sender := testSender(t, s.URL, egress.Policy{Ports: []uint16{443}})
	trust(sender, roots)
	if r := try(t.Context(), sender, nil); r.Class != outcome.ClassBlocked {
		t.Errorf("%+v", r)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A receiver that stops to speak HTTP/2 is followed, there and back.
func TestReceiverChangesItsProtocol(t *testing.T) {
	t.Parallel()
	var old atomic.Bool
	seen := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Proto }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if !old.Load() {
			return nil, nil
		}
		return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"http/1.1"}}, nil
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	sender := testSender(t, s.URL, loopback)
	trust(sender, roots)
	for _, step := range []struct {
		old  bool
		want string
	}{{false, "HTTP/2.0"}, {true, "HTTP/1.1"}, {true, "HTTP/1.1"}, {false, "HTTP/2.0"}, {false, "HTTP/2.0"}} {
		old.Store(step.old)
		s.CloseClientConnections()
		if r := try(t.Context(), sender, []byte("{}")); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
		if got := <-seen; got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
}

// corked writes in one piece what it was given since it was last read from, so
// that all of it arrives together.
type corked struct {
	net.Conn
	held []byte
	keep int // how much of it stays when the rest is written
}

func (c *corked) Write(p []byte) (int, error) {
	c.held = append(c.held, p...)
	return len(p), nil
}

// SetWriteDeadline does nothing: TLS forbids writing with it after its end.
func (c *corked) SetWriteDeadline(time.Time) error { return nil }

func (c *corked) Read(p []byte) (int, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// flush writes what is held back.
func (c *corked) flush() error {
	n := max(len(c.held)-c.keep, 0)
	if n == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.held[:n])
	c.held = c.held[:copy(c.held, c.held[n:])]
	return err
}
