package admin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey()
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// issue writes a certificate for 127.0.0.1 with a serial number, and its key.
func (a *authority) issue(files TLS, serial int64) {
	a.t.Helper()
	key := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *authority) trust() *http.Transport {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := TLS{filepath.Join(dir, "crt"), filepath.Join(dir, "key")}
	ca := newAuthority(t)
	ca.issue(files, 100)
	settings := Settings{Listen: "127.0.0.1:0", Tokens: tokens(), TLS: files}
	s := newServer(t, settings)
	url := serve(t, s)
	if !strings.HasPrefix(url, "https://") {
		t.Fatalf("it is at %s", url)
	}
	serial := func() int64 {
		resp, _ := request(t, ca.trust(), "GET", url+"/livez", "", "")
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 100 {
		t.Errorf("certificate %d, want 100", got)
	}
	// Without TLS nobody gets anything, and old versions neither.
	if resp, _ := request(t, &http.Transport{}, "GET", strings.Replace(url, "https", "http", 1)+"/livez", tokenOf(ScopeAdmin), ""); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %d", resp.StatusCode)
	}
	old := ca.trust().TLSClientConfig
	old.MaxVersion = tls.VersionTLS11
	if conn, err := tls.Dial("tcp", s.Addr(), old); err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.1")
	}
	// A new certificate is used from the next reload on, and a broken one never.
	ca.issue(files, 101)
	if err := s.Apply(settings); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 101 {
		t.Errorf("certificate %d, want 101", got)
	}
	if err := os.WriteFile(files.Cert, []byte("half of a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(settings); err == nil {
		t.Error("a broken certificate was applied")
	}
	if got := serial(); got != 101 {
		t.Errorf("certificate %d after a broken one, want 101", got)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Settings{Listen: "127.0.0.1:0", Tokens: tokens(), BehindTLSProxy: true})
	status := func(token string) int {
		resp, _ := w.do("GET", "/api/v1/audit", token, "")
		return resp.StatusCode
	}
	// One is revoked, one gets less.
	next := Settings{Listen: "127.0.0.1:9", Hosts: []string{"new.example.com"}, Tokens: tokens()[1:]}
	next.Tokens[0].Scope = ScopeRead
	if err := w.server.Apply(next); err != nil {
		t.Fatal(err)
	}
	if got := status(tokenOf(ScopeRead)); got != 401 {
		t.Errorf("a revoked token: %d", got)
	}
	if resp, _ := w.do("POST", "/api/v1/endpoints/billing/pause", tokenOf(ScopeOperate), ""); resp.StatusCode != 403 {
		t.Errorf("a token with a smaller scope: %d", resp.StatusCode)
	}
	if resp, _ := w.do("GET", "/livez", "", "", func(r *http.Request) { r.Host = "new.example.com" }); resp.StatusCode != 200 {
		t.Errorf("a new host: %d", resp.StatusCode)
	}
	// What it needs where it listens until a restart cannot be taken away.
	if err := w.server.Apply(Settings{Listen: "127.0.0.1:9"}); err == nil || !strings.Contains(err.Error(), "until a restart") {
		t.Errorf("tokens taken away: %v", err)
	}
	if got := status(""); got != 401 {
		t.Errorf("nobody, after that: %d", got)
	}
}
