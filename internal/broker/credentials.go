package broker

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// authOptions are the credentials and certificates of a connection. Files are
// read once here, so that one that is missing or broken is an error and not a
// server that never answers.
func (s Settings) authOptions(opts ConnectOptions) ([]nats.Option, error) {
	if opts.Server != nil {
		key, err := keyOption(opts.Server.key)
		return []nats.Option{key}, err
	}
	natsOpts, err := s.credentials(opts)
	if err != nil {
		return nil, err
	}
	secured, err := s.tlsOptions()
	return append(natsOpts, secured...), err
}

func (s Settings) credentials(opts ConnectOptions) ([]nats.Option, error) {
	if s.Credentials != "" && s.URL != "" {
		option, err := credentialsFile(s.Credentials)
		if err != nil {
			return nil, fmt.Errorf("nats.credentials: %w", err)
		}
		return []nats.Option{option}, nil
	}
	if !s.User.IsZero() && s.URL != "" {
		return []nats.Option{nats.UserInfo(s.User.Reveal(), s.Password.Reveal())}, nil
	}
	if !s.ownServer() {
		return nil, nil
	}
	pair, err := operatorKeyOf(s.Embedded)
	switch {
	case err == nil:
		key, err := keyOption(pair)
		return []nats.Option{key}, err
	case opts.KeyOptional, s.URL != "":
		return nil, nil
	}
	return nil, err
}

// guessesKey reports whether the operator's key is taken only because the address that
// is given is where the embedded server would listen. Another server may be there now,
// and the key be left over from the time before.
func (s Settings) guessesKey() bool {
	return s.URL != "" && s.Credentials == "" && s.User.IsZero() && s.ownServer()
}

// ownServer reports whether the server is the embedded one of another process,
// whether or not its address is given.
func (s Settings) ownServer() bool {
	if s.URL == "" {
		return true
	}
	own, err := s.ownAddress()
	if err != nil {
		return false
	}
	given := strings.TrimSuffix(strings.TrimPrefix(s.URL, "nats://"), "/")
	if host, port, err := net.SplitHostPort(given); err == nil && strings.EqualFold(host, "localhost") {
		given = net.JoinHostPort("127.0.0.1", port)
	}
	return given == own
}

// ownAddress is where this machine reaches the embedded server.
func (s Settings) ownAddress() (string, error) {
	host, port, err := splitListen(s.Embedded.Listen)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// credentialsFile makes an option of a file that is in one of two forms: what
// nsc writes, with a JWT, or the seed of an nkey.
func credentialsFile(path string) (nats.Option, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(data, []byte("BEGIN NATS USER JWT")) {
		return nats.UserCredentials(path), nil // read anew at every attempt
	}
	pair, err := parseKey(path, data)
	if err != nil {
		return nil, fmt.Errorf("%w; nor is it a .creds file", err)
	}
	return keyOption(pair)
}

// keyOption lets a connection prove that it has a key.
func keyOption(pair nkeys.KeyPair) (nats.Option, error) {
	public, err := pair.PublicKey()
	if err != nil {
		return nil, err
	}
	return nats.Nkey(public, pair.Sign), nil
}

func (s Settings) tlsOptions() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case s.ownServer() && s.Embedded.TLS.Cert != "":
		config, err := pinned(s.Embedded.TLS.Cert)
		if err != nil {
			return nil, fmt.Errorf("nats.embedded.tls.cert: %w", err)
		}
		opts = append(opts, nats.Secure(config))
	case s.TLS.CA != "":
		if _, err := os.ReadFile(s.TLS.CA); err != nil {
			return nil, fmt.Errorf("nats.tls.ca: %w", err)
		}
		opts = append(opts, nats.RootCAs(s.TLS.CA))
	}
	if s.TLS.HandshakeFirst && !s.ownServer() {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	switch {
	case s.TLS.Cert == "" && s.TLS.Key == "":
	case s.TLS.Cert == "" || s.TLS.Key == "":
		return nil, errors.New("nats.tls: cert and key belong together; one of them is not set")
	default:
		if _, err := tls.LoadX509KeyPair(s.TLS.Cert, s.TLS.Key); err != nil {
			return nil, fmt.Errorf("nats.tls.cert and nats.tls.key: %w", err)
		}
		opts = append(opts, nats.ClientCert(s.TLS.Cert, s.TLS.Key))
	}
	return opts, nil
}

// pinned accepts the certificate in a file and no other, whatever name the
// server is reached by: on its own machine that is an address of loopback,
// which its certificate need not name.
func pinned(path string) (*tls.Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s does not begin with a certificate in PEM form", path)
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // replaced by a stricter check
		VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(want) {
				return fmt.Errorf("it does not have the certificate of nats.embedded.tls.cert (%s)", path)
			}
			return nil
		},
	}, nil
}
