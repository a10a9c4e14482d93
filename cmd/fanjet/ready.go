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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanjet/config"
)

// maxReadyAnswer bounds what is shown of the gateway's answer, in bytes.
const maxReadyAnswer = 4 << 10

func newReadyCommand(g *globals) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask the gateway on this machine whether it is ready",
		Long: `Ask the gateway that runs on this machine with this configuration whether it is
ready: connected to NATS, its streams and consumers as they should be, and not
about to stop. It ends with 0 if so and with 1 if not, and serves as the health
check of a container, where there is no other HTTP client. A mistake that got into the
configuration since the gateway started does not matter, unless it is in admin.`,
		Example: `  fanjet ready
  fanjet ready --config /etc/fanjet/fanjet.yaml --timeout 2s`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settings, err := g.loadAdmin()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		return g.askReady(ctx, settings)
	}
	return cmd
}

// loadAdmin returns where the gateway on this machine is to be asked. A mistake
// elsewhere in the configuration is only mentioned: a gateway that runs keeps to the
// version before it, and must not be taken for one that is not ready.
func (g *globals) loadAdmin() (config.Admin, error) {
	cfg, err := g.loadConfig(config.Options{NoSecrets: true})
	if err == nil {
		return cfg.Admin, nil
	}
	found, ok := errors.AsType[*config.Errors](err)
	if !ok || found.Admin == nil {
		return config.Admin{}, err
	}
	fmt.Fprintf(g.err, "fanjet: %s has mistakes, which `fanjet check` shows; a gateway that runs has the version before, and is asked\n", g.config)
	return *found.Admin, nil
}

func (g *globals) askReady(ctx context.Context, settings config.Admin) error {
	// Not the default client: a proxy in the environment is not for this.
	transport := &http.Transport{}
	url := "http://" + onThisMachine(settings.Listen) + "/readyz"
	if settings.TLS.Cert != "" {
		url = "https" + strings.TrimPrefix(url, "http")
		certificate, err := readCertificate(settings.TLS.Cert)
		if err != nil {
			return fmt.Errorf("admin.tls: %w", err)
		}
		transport.TLSClientConfig = onlyCertificate(certificate)
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
	fmt.Fprintln(g.out, "ready")
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

// onlyCertificate trusts a server that has this very certificate, and no other:
// it is asked for by an address that the certificate need not name.
func onlyCertificate(want *x509.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection is stricter
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
				return errors.New("it has another certificate than admin.tls.cert")
			}
			return nil
		},
	}
}
