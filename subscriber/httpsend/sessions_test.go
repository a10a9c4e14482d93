package httpsend

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/internal/benchreceiver"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// resuming is a receiver with TLS that counts the handshakes that resumed a
// session, and hangs up after each answer.
type resuming struct {
	*rawReceiver
	resumed atomic.Int32
}

func newResuming(t testing.TB, config *tls.Config, refuse func(*tls.ClientHelloInfo) error) *resuming {
	t.Helper()
	s := new(resuming)
	if refuse != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return nil, refuse(hello) }
	}
	s.rawReceiver = newRawReceiver(t, func(r *rawReceiver, raw net.Conn) {
		c := tls.Server(raw, config)
		if c.Handshake() != nil {
			return
		}
		if c.ConnectionState().DidResume {
			s.resumed.Add(1)
		}
		if r.read(bufio.NewReader(c)) != nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			_ = c.Close()
		}
	})
	return s
}

func (s *resuming) secureURL() string { return strings.Replace(s.url(), "http:", "https:", 1) }

// pskExtension is pre_shared_key (RFC 8446, 4.2.11): the client offers a session.
const pskExtension = 41

// Of many connections all but the first resume a session, and each endpoint has its
// own.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			const attempts = 50
			s := newResuming(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(nil)}, MaxVersion: version}, nil) //nolint:gosec // 1.2 at least
			for range 2 {
				sender := testSender(t, s.secureURL(), loopback)
				trust(sender, ours.roots)
				before := s.resumed.Load()
				for range attempts {
					if r := try(t.Context(), sender, []byte("{}")); r.Status != 200 {
						t.Fatalf("%+v", r)
					}
				}
				if n := s.resumed.Load() - before; n != attempts-1 {
					t.Errorf("%d of %d handshakes resumed a session", n, attempts)
				}
			}
			if n := s.connections.Load(); n != 2*attempts {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// A session is no way around what is checked: a certificate that has expired
// meanwhile, an authority that is not trusted any more, an address that is not
// allowed any more.
func TestResumedSessionsAreVerified(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	for name, tt := range map[string]struct {
		then  func(sender *Sender)
		class outcome.Class
	}{
		"nothing changes": {func(*Sender) {}, outcome.Class2xx},
		"the certificate has expired": {func(sender *Sender) {
			sender.transport.tls.Time = func() time.Time { return time.Now().Add(2 * time.Hour) }
		}, outcome.ClassTLS},
		"another authority is trusted": {func(sender *Sender) { trust(sender, others.roots) }, outcome.ClassTLS},
		"the address is forbidden": {func(sender *Sender) {
			sender.transport.guard = egress.New(egress.Policy{Ports: []uint16{443}}, egress.GuardOptions{})
		}, outcome.ClassBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newResuming(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(nil)}}, nil)
			sender := testSender(t, s.secureURL(), loopback)
			trust(sender, ours.roots)
			if r := try(t.Context(), sender, nil); r.Status != 200 {
				t.Fatalf("%+v", r)
			}
			tt.then(sender)
			if r := try(t.Context(), sender, nil); r.Class != tt.class {
				t.Errorf("%+v, want %s", r, tt.class)
			}
		})
	}
}

// A receiver that ends a handshake because of the session in it gets another one
// without, and the attempt goes on.
func TestReceiverRefusesSessions(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	var offers atomic.Int32
	s := newResuming(t, &tls.Config{Certificates: []tls.Certificate{ours.issue(nil)}}, func(hello *tls.ClientHelloInfo) error {
		if !slices.Contains(hello.Extensions, pskExtension) {
			return nil
		}
		offers.Add(1)
		return errors.New("no session is wanted")
	})
	sender := testSender(t, s.secureURL(), loopback)
	trust(sender, ours.roots)
	for range 3 {
		if r := try(t.Context(), sender, []byte("{}")); r.Status != 200 {
			t.Errorf("%+v", r)
		}
	}
	if n, o := s.requests.Load(), offers.Load(); n != 3 || o != 1 {
		t.Errorf("%d requests, %d sessions were offered", n, o)
	}
}

// BenchmarkHandshake makes a connection for each attempt, to a receiver with an RSA
// key of the usual size in a process of its own. cpu-ns/op is what that costs this
// process, receiver-cpu-ns/op what it costs the receiver.
func BenchmarkHandshake(b *testing.B) {
	for _, resume := range []bool{false, true} {
		b.Run(map[bool]string{false: "full", true: "resumed"}[resume], func(b *testing.B) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				b.Fatal(err)
			}
			ours := newAuthority(b)
			cert := ours.issueFor(key, nil)
			file := filepath.Join(b.TempDir(), "receiver.pem")
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
			if err := os.WriteFile(file, text, 0o600); err != nil {
				b.Fatal(err)
			}
			url, stop, err := benchreceiver.Start(file)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { stop() })
			sender := testSender(b, url, loopback)
			trust(sender, ours.roots)
			counted := &countedSessions{ClientSessionCache: newSessions(), forget: !resume}
			sender.transport.tls.ClientSessionCache = counted
			b.ResetTimer()
			before := benchreceiver.CPU()
			for range b.N {
				if r := try(b.Context(), sender, nil); r.Status != 200 {
					b.Fatalf("%+v", r)
				}
			}
			b.ReportMetric(float64(benchreceiver.CPU()-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(stop().Nanoseconds())/float64(b.N), "receiver-cpu-ns/op")
			b.ReportMetric(float64(counted.offered)/float64(b.N), "offered/op")
		})
	}
}

// countedSessions counts the sessions that are offered.
type countedSessions struct {
	tls.ClientSessionCache
	forget  bool
	offered int
}

// Get implements [tls.ClientSessionCache].
func (c *countedSessions) Get(key string) (*tls.ClientSessionState, bool) {
	if c.forget {
		return nil, false
	}
	s, ok := c.ClientSessionCache.Get(key)
	if ok && s != nil {
		c.offered++
	}
	return s, ok
}
