package httpsend

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// authority issues certificates.
type authority struct {
	t     testing.TB
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, roots: x509.NewCertPool()}
	made := a.issue(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.Subject.CommonName = "an authority"
	})
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.roots.AddCert(a.cert)
	return a
}

// issue makes a certificate for 127.0.0.1 that is valid now, unless changed. One
// that is made before the authority's own is signed by itself.
func (a *authority) issue(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.issueFor(key, change)
}

// issueFor makes a certificate for a key.
func (a *authority) issueFor(key crypto.Signer, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a receiver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(c)
	}
	parent, signer := a.cert, crypto.Signer(a.key)
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// What is wrong with a receiver's TLS is of the class tls and said in words, and
// nothing of the request leaves.
func TestHostileTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	good := ours.issue(nil)
	serve := func(config *tls.Config) func(*rawReceiver, net.Conn) {
		return func(r *rawReceiver, raw net.Conn) {
			c := tls.Server(raw, config)
			if c.Handshake() == nil {
				_, _ = io.Copy(io.Discard, c)
			}
		}
	}
	presents := func(c tls.Certificate) func(*rawReceiver, net.Conn) {
		return serve(&tls.Config{Certificates: []tls.Certificate{c}})
	}
	says := func(text string) func(*rawReceiver, net.Conn) {
		return func(_ *rawReceiver, c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(*rawReceiver, net.Conn)
		class outcome.Class
		words string
	}{
		{"expired", presents(ours.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), outcome.ClassTLS, "certificate has expired"},
		{"not yet valid", presents(ours.issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), outcome.ClassTLS, "not yet valid"},
		{
			"for another host", presents(ours.issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} })), outcome.ClassTLS,
			"certificate is valid for 127.0.0.9, not 127.0.0.1",
		},
		{"for no host", presents(ours.issue(func(c *x509.Certificate) { c.IPAddresses = nil })), outcome.ClassTLS, "IP SANs"},
		{"signed by itself", presents((&authority{t: t}).issue(nil)), outcome.ClassTLS, "unknown authority"},
		{"of an unknown authority", presents(others.issue(nil)), outcome.ClassTLS, "unknown authority"},
		{"of use for a client only", presents(ours.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), outcome.ClassTLS, "incompatible key usage"},
		{"TLS 1.0 only", serve(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}), outcome.ClassTLS, "protocol version"}, //nolint:gosec // it is what is tested
		{"no protocol of ours", serve(&tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"spdy/3"}}), outcome.ClassTLS, "application protocol"},
		{"asks for a certificate, TLS 1.2", serve(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}), outcome.ClassTLS, "handshake failure"},
		{"asks for a certificate, TLS 1.3", serve(&tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}), outcome.ClassTLS, "certificate required"},
		{"no certificate", serve(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}), outcome.ClassTLS, "internal error"},
		{"alert", says("\x15\x03\x03\x00\x02\x02\x28"), outcome.ClassTLS, "handshake failure"},
		{"garbage", says(strings.Repeat("\x1b[31m garbage \x00", 1000)), outcome.ClassTLS, "does not look like a TLS handshake"},
		{"another version in the records", says("\x16\x99\x99\x00\x02\x02\x28"), outcome.ClassTLS, ""},
		{"handshake record of zeros", says("\x16\x03\x03\x00\x04\x00\x00\x00\x00"), outcome.ClassTLS, "unexpected handshake message"},
		{"records without content", says(strings.Repeat("\x16\x03\x03\x00\x00", 1000)), outcome.ClassTLS, "unexpected message"},
		{"plain HTTP", says("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), outcome.ClassTLS, "HTTP response to HTTPS client"},
		{"closes", says(""), outcome.ClassConnect, "the connection broke in the TLS handshake"},
		{"resets", func(_ *rawReceiver, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, outcome.ClassConnect, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, tt.serve)
			sender := testSender(t, strings.Replace(s.url(), "http:", "https:", 1), loopback)
			trust(sender, ours.roots)
			r := try(t.Context(), sender, []byte("{}"))
			if r.Class != tt.class || r.Status != 0 || !strings.Contains(r.Failure(), tt.words) {
				t.Errorf("%s: %s", r.Class, r.Failure())
			}
			if n := s.connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// A receiver that speaks TLS on the port of an http URL.
func TestTLSWhereHTTPIsExpected(t *testing.T) {
	t.Parallel()
	alert := newRawReceiver(t, func(_ *rawReceiver, c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x46")
	})
	r := try(t.Context(), testSender(t, alert.url(), loopback), []byte("{}"))
	if r.Class != outcome.ClassConnect || !strings.Contains(r.Failure(), "the receiver speaks TLS: its URL must begin with https://") {
		t.Errorf("%+v", r)
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	if r := try(t.Context(), testSender(t, strings.Replace(secure.URL, "https:", "http:", 1), loopback), nil); r.Status != 400 {
		t.Errorf("%+v", r) // Go's server says so in HTTP
	}
}

// The names in a certificate are the receiver's words as well.
func TestCertificateInjectsNothing(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	names := slices.Repeat([]string{"evil\r\nFanjet-Reason: x\x1b[2J\x00.example"}, 50)
	cert := ours.issue(func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = names, nil })
	if !bytes.Contains(cert.Certificate[0], []byte("\x1b[2J")) {
		t.Fatal("the certificate has other names")
	}
	s := newRawReceiver(t, func(_ *rawReceiver, raw net.Conn) {
		_ = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
	})
	sender := testSender(t, "https://localhost:"+s.url()[strings.LastIndex(s.url(), ":")+1:], loopback)
	trust(sender, ours.roots)
	r := try(t.Context(), sender, nil)
	if r.Class != outcome.ClassTLS {
		t.Errorf("%+v", r)
	}
	checkPlain(t, r.Failure())
}
