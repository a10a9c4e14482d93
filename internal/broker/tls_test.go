package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/internal/natstest"
)

func TestConnectTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "127.0.0.1")
	otherFile, otherKey := writeCertificate(t, "nats.example.com")
	secured := startTLS(t, certFile, keyFile, tls.NoClientCert)
	mutual := startTLS(t, certFile, keyFile, tls.RequireAnyClientCert)
	misnamed := startTLS(t, otherFile, otherKey, tls.NoClientCert)

	for _, test := range []struct {
		name     string
		settings Settings
		want     string // part of the error; empty: connects
	}{
		{"authority given", Settings{URL: secured, TLS: TLS{CA: certFile}}, ""},
		{"authority unknown", Settings{URL: secured}, "set nats.tls.ca"},
		{"another name", Settings{URL: misnamed, TLS: TLS{CA: otherFile}}, "certificate for another name"},
		{"client certificate given", Settings{URL: mutual, TLS: TLS{CA: certFile, Cert: otherFile, Key: otherKey}}, ""},
		{"client certificate missing", Settings{URL: mutual, TLS: TLS{CA: certFile}}, "set nats.tls.cert and nats.tls.key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := Connect(t.Context(), test.settings, ConnectOptions{})
			if err == nil {
				nc.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "":
				wantError(t, err, test.want)
			}
		})
	}
}

func startTLS(t *testing.T, certFile, keyFile string, auth tls.ClientAuthType) (url string) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.TLS = true
		o.TLSTimeout = 10
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: auth, MinVersion: tls.VersionTLS12}
	}})
	return strings.Replace(s.URL(), "nats:", "tls:", 1)
}

// writeCertificate makes a certificate that signed itself for one host.
func writeCertificate(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", keyBytes)
}
