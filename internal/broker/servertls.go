package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// serverTLS is the TLS configuration of the embedded server; nil without a
// certificate.
func serverTLS(files TLS, log *zap.Logger) (*tls.Config, error) {
	if files.Cert == "" && files.Key == "" && files.CA == "" {
		return nil, nil
	}
	if files.Cert == "" || files.Key == "" {
		return nil, errors.New("nats.embedded.tls: cert and key are needed, both")
	}
	cert := &certificate{files: files, log: log}
	if _, err := cert.get(nil); err != nil {
		return nil, fmt.Errorf("nats.embedded.tls.cert and nats.embedded.tls.key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
	if files.CA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.tls.ca: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("nats.embedded.tls.ca: %s contains no certificate in PEM form", files.CA)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

// certificate is the server's, read anew when its file has changed: a renewal
// needs no restart.
type certificate struct {
	files TLS
	log   *zap.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]time.Time // modification of cert and key when they were last read
}

// get has the form of [tls.Config.GetCertificate]. While the new files cannot
// be used, or belong to two different renewals, the old certificate stays.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, err := c.modified()
	if err == nil && c.current != nil && seen == c.seen {
		return c.current, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	}
	switch {
	case err == nil:
		if c.current != nil {
			c.log.Info("the certificate of the embedded NATS server was renewed", zap.String("file", c.files.Cert))
		}
		c.current, c.seen = &pair, seen
	case c.current == nil:
		return nil, err
	case seen != c.seen:
		c.seen = seen // said once
		c.log.Warn("the new certificate of the embedded NATS server cannot be used: the old one stays", zap.Error(err))
	}
	return c.current, nil
}

func (c *certificate) modified() (times [2]time.Time, err error) {
	for i, name := range []string{c.files.Cert, c.files.Key} {
		var info fs.FileInfo
		if info, err = os.Stat(name); err != nil {
			return [2]time.Time{}, err
		}
		times[i] = info.ModTime()
	}
	return times, nil
}
