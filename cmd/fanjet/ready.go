package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
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
check of a container, where there is no other HTTP client.`,
		Example: `  fanjet ready
  fanjet ready --config /etc/fanjet/fanjet.yaml --timeout 2s`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := g.loadConfig(config.Options{NoSecrets: true})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		return g.askReady(ctx, "http://"+cfg.Admin.Listen+"/readyz")
	}
	return cmd
}

func (g *globals) askReady(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	// Not the default client: a proxy in the environment is not for this.
	transport := &http.Transport{}
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
