package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/internal/runfile"
)

// maxReadyAnswer bounds what is shown of the gateway's answer, in bytes.
const maxReadyAnswer = 4 << 10

func newReadyCommand(g *globals) *cobra.Command {
	var timeout time.Duration
	var address string
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the gateway on this machine whether it is ready",
		Long: `Ask the gateway that runs on this machine with this configuration whether it is
ready: connected to NATS, its streams and consumers as they should be, and not
about to stop. It ends with 0 if so and with 1 if not, and serves as the health
check of a container, where there is no other HTTP client.

It asks where the gateway listens, whatever became of the file since it started: a
gateway leaves its address in a folder of this machine. Of several with this
configuration all must be ready. Where none left it, the file says where to ask.`,
		Example: `  fanjet ready
  fanjet ready --config /etc/fanjet/fanjet.yaml --timeout 2s
  fanjet ready --admin 127.0.0.1:8422`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.Flags().StringVar(&address, "admin", "", "`ADDRESS` of the admin listener, such as 127.0.0.1:8422 or https://127.0.0.1:8422, whatever the configuration says")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		listeners, err := g.listeners(address)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		for _, l := range listeners {
			if err := l.askReady(ctx); err != nil {
				return err
			}
		}
		fmt.Fprintln(g.out, "ready")
		return nil
	}
	return cmd
}

// adminListener is one that is asked.
type adminListener struct {
	address string
	secure  bool
	// certs are files with certificates, of which it must have one; without any,
	// this machine's authorities decide.
	certs []string
}

// listeners are those of the gateways that run on this machine with this
// configuration.
func (g *globals) listeners(address string) ([]adminListener, error) {
	if address != "" {
		l, err := parseAdmin(address)
		if err == nil && l.secure {
			c := config.LoadClient(g.config, config.Options{NATS: g.nats, DataDir: g.dataDir})
			l.certs = certificates(c.Admin.TLS.Cert)
		}
		return []adminListener{l}, err
	}
	running := runfile.Find(g.config, runfile.Folders())
	c := config.LoadClient(g.config, config.Options{NATS: g.nats, DataDir: g.dataDir})
	if c.Problems != nil && !(len(running) == 0 && g.hasNoFile()) {
		g.warn("%s", brokenText(g.config, c.Problems))
	}
	var found []adminListener
	for _, r := range running {
		found = append(found, adminListener{r.Admin.Address, r.Admin.Cert != "", certificates(r.Admin.Cert, c.Admin.TLS.Cert)})
	}
	if len(found) > 0 {
		return found, nil
	}
	if !c.AdminKnown && !g.hasNoFile() {
		return nil, fmt.Errorf("where the gateway listens cannot be told, and none that runs on this machine with this file has left its address: correct the file, or name the address with --admin\n%w", c.Problems)
	}
	return []adminListener{{c.Admin.Listen, c.Admin.TLS.Cert != "", certificates(c.Admin.TLS.Cert)}}, nil
}

// certificates are the files that are named, each once.
func certificates(files ...string) (named []string) {
	for _, file := range files {
		if path := absolute(file); path != "" && !slices.Contains(named, path) {
			named = append(named, path)
		}
	}
	return named
}

// parseAdmin reads the address of an admin listener.
func parseAdmin(address string) (l adminListener, err error) {
	l.address = strings.TrimSuffix(address, "/")
	if rest, ok := strings.CutPrefix(l.address, "https://"); ok {
		l.address, l.secure = rest, true
	}
	l.address = strings.TrimPrefix(l.address, "http://")
	host, portText, err := net.SplitHostPort(l.address)
	if err == nil {
		_, err = strconv.ParseUint(portText, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, "/?#@") {
		return l, usagef("--admin: must be host:port, such as 127.0.0.1:8422, or https://host:port")
	}
	return l, nil
}

func (l adminListener) askReady(ctx context.Context) error {
	// Not the default client: a proxy in the environment is not for this.
	transport := &http.Transport{}
	url := "http://" + onThisMachine(l.address) + "/readyz"
	if l.secure {
		url = "https" + strings.TrimPrefix(url, "http")
		if len(l.certs) > 0 {
			var err error
			if transport.TLSClientConfig, err = onlyCertificates(l.certs); err != nil {
				return fmt.Errorf("admin.tls: %w", err)
			}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReadyAnswer))
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready (%s): %s", resp.Status, bytes.TrimSpace(answer))
	}
	return nil
}

// onThisMachine is a listener's address as this machine reaches it.
func onThisMachine(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// readCertificate reads the first certificate of a PEM file.
func readCertificate(file string) (*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return x509.ParseCertificate(block.Bytes)
}

// onlyCertificates trusts a server that has the certificate of one of these files, and
// no other: it is asked for by an address that the certificate need not name. One file
// may have gone; all must not.
func onlyCertificates(files []string) (*tls.Config, error) {
	var wanted []*x509.Certificate
	var errs []error
	for _, file := range files {
		certificate, err := readCertificate(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		wanted = append(wanted, certificate)
	}
	if len(wanted) == 0 {
		return nil, errors.Join(errs...)
	}
	return &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !slices.ContainsFunc(wanted, state.PeerCertificates[0].Equal) {
				return errors.New("it has another certificate than admin.tls.cert")
			}
			return nil
		},
	}, nil
}
