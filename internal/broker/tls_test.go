package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/natstest"
	"fanjet/internal/secret"
)

func TestConnectTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "127.0.0.1")
	otherFile, otherKey := writeCertificate(t, "nats.example.com")
	oldFile, oldKey := writeCertificate(t, "127.0.0.1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	earlyFile, earlyKey := writeCertificate(t, "127.0.0.1", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	authority := func(file string) func(*tls.Config) {
		return func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool(t, file) }
	}
	secured := startTLS(t, certFile, keyFile)
	mutual := startTLS(t, certFile, keyFile, authority(otherFile))
	strict := startTLS(t, certFile, keyFile, authority(oldFile))
	misnamed, expired, early := startTLS(t, otherFile, otherKey), startTLS(t, oldFile, oldKey), startTLS(t, earlyFile, earlyKey)
	plain := strings.Replace(natstest.Start(t, natstest.Options{Listen: true}).URL(), "nats:", "tls:", 1)

	for _, test := range []struct {
		name     string
		settings Settings
		want     string // part of the error; empty: connects
	}{
		{"authority given", Settings{URL: secured, TLS: TLS{CA: certFile}}, ""},
		{"authority given, scheme nats", Settings{URL: strings.Replace(secured, "tls:", "nats:", 1), TLS: TLS{CA: certFile}}, ""},
		{"authority unknown", Settings{URL: secured}, "set nats.tls.ca"},
		{"another authority", Settings{URL: secured, TLS: TLS{CA: otherFile}}, "set nats.tls.ca"},
		{"another name", Settings{URL: misnamed, TLS: TLS{CA: otherFile}}, "certificate for another name"},
		{"expired", Settings{URL: expired, TLS: TLS{CA: oldFile}}, "has expired"},
		{"not valid yet", Settings{URL: early, TLS: TLS{CA: earlyFile}}, "not valid yet"},
		{"no TLS", Settings{URL: plain, TLS: TLS{CA: certFile}}, "has no TLS"},
		{"client certificate given", Settings{URL: mutual, TLS: TLS{CA: certFile, Cert: otherFile, Key: otherKey}}, ""},
		{"client certificate missing", Settings{URL: mutual, TLS: TLS{CA: certFile}}, "set nats.tls.cert and nats.tls.key"},
		{"client certificate of another authority", Settings{URL: mutual, TLS: TLS{CA: certFile, Cert: certFile, Key: keyFile}}, "nats.tls.cert"},
		{"client certificate expired", Settings{URL: strict, TLS: TLS{CA: certFile, Cert: oldFile, Key: oldKey}}, "nats.tls.cert"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			nc, err := Connect(t.Context(), test.settings, ConnectOptions{NoWait: true})
			if err == nil {
				nc.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v does not contain %q", err, test.want)
			}
		})
	}
}

// The embedded server with TLS and users, as other machines see it.
func TestEmbeddedTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "nats.example.com")
	clientFile, clientKey := writeCertificate(t, "client")
	users := []User{{Name: "shop", Role: Producer, Password: secret.New("the-shop-password")}}
	server := Embedded{StoreDir: t.TempDir(), Listen: "0.0.0.0:-1", Subjects: []string{"events.>"}, Users: users, TLS: TLS{Cert: certFile, Key: keyFile, CA: clientFile}}
	s := startEmbedded(t, server)
	_, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	server.Listen = "0.0.0.0:" + port
	url := "nats://127.0.0.1:" + port

	connect(t, Settings{}, ConnectOptions{Server: s, NoWait: true})
	// A command on the same machine finds it, has its key, and knows its very
	// certificate, which is for another name.
	connect(t, Settings{Embedded: server, TLS: TLS{Cert: clientFile, Key: clientKey}}, ConnectOptions{NoWait: true})
	impostor := server
	impostor.TLS.Cert = clientFile
	_, err = Connect(t.Context(), Settings{Embedded: impostor, TLS: TLS{Cert: clientFile, Key: clientKey}}, ConnectOptions{NoWait: true})
	if err == nil || !strings.Contains(err.Error(), "nats.embedded.tls.cert") {
		t.Errorf("another certificate than the pinned one: %v", err)
	}

	roots := pool(t, certFile)
	for _, test := range []struct {
		name string
		opts []nats.Option
		ok   bool
	}{
		{"with everything", []nats.Option{nats.Secure(&tls.Config{RootCAs: roots, ServerName: "nats.example.com"}), nats.ClientCert(clientFile, clientKey), nats.UserInfo("shop", "the-shop-password")}, true},
		{"without a client certificate", []nats.Option{nats.Secure(&tls.Config{RootCAs: roots, ServerName: "nats.example.com"}), nats.UserInfo("shop", "the-shop-password")}, false},
		{"without a password", []nats.Option{nats.Secure(&tls.Config{RootCAs: roots, ServerName: "nats.example.com"}), nats.ClientCert(clientFile, clientKey)}, false},
	} {
		nc, err := nats.Connect(url, test.opts...)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v, want accepted: %v", test.name, err, test.ok)
		}
		if nc != nil {
			nc.Close()
		}
	}
}

// A renewed certificate is taken without a restart, a broken one is not.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "nats.example.com")
	nextFile, nextKey := writeCertificate(t, "nats.example.com")
	core, logs := observer.New(zapcore.InfoLevel)
	config, err := serverTLS(TLS{Cert: certFile, Key: keyFile}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	first, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	replace := func(name, by string) {
		data, err := os.ReadFile(by)
		if err == nil {
			err = errors.Join(os.WriteFile(name, data, 0o600), os.Chtimes(name, later, later))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Between the two renewals the pair does not fit.
	replace(certFile, nextFile)
	for range 3 {
		if got, err := config.GetCertificate(nil); err != nil || got != first {
			t.Errorf("a certificate without its key is used: %v", err)
		}
	}
	replace(keyFile, nextKey)
	if got, err := config.GetCertificate(nil); err != nil || got == first {
		t.Errorf("the new certificate is not used: %v", err)
	}
	if warnings, renewals := logs.FilterLevelExact(zapcore.WarnLevel).Len(), logs.FilterLevelExact(zapcore.InfoLevel).Len(); warnings != 1 || renewals != 1 {
		t.Errorf("%d warnings and %d renewals were logged, want one of each: %v", warnings, renewals, logs.All())
	}
}

// A client that connects and says nothing is cut off, before and after the TLS
// handshake.
func TestSilentClientsAreCutOff(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, "127.0.0.1")
	for name, settings := range map[string]Embedded{
		"no CONNECT":   {Listen: "127.0.0.1:-1", Anonymous: true},
		"no handshake": {Listen: "127.0.0.1:-1", Anonymous: true, TLS: TLS{Cert: certFile, Key: keyFile}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startEmbedded(t, settings)
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); timedOut(err) {
				t.Error("it is still connected")
			}
		})
	}
}

func pool(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	p.AppendCertsFromPEM(data)
	return p
}

func startTLS(t *testing.T, certFile, keyFile string, adjust ...func(*tls.Config)) (url string) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.TLS = true
		o.TLSTimeout = 10
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		for _, change := range adjust {
			change(o.TLSConfig)
		}
	}})
	return strings.Replace(s.URL(), "nats:", "tls:", 1)
}

// writeCertificate makes a certificate that signed itself for one host.
func writeCertificate(t *testing.T, host string, adjust ...func(*x509.Certificate)) (certFile, keyFile string) {
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
	for _, change := range adjust {
		change(template)
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
