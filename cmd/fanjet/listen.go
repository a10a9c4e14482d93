package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fanjet/webhook"
)

// listenSecretEnv holds secrets of `listen`, separated by commas or spaces.
const listenSecretEnv = "FANJET_LISTEN_SECRET"

// listenGrace is how long requests that run may take after the end was asked for.
const listenGrace = 5 * time.Second

func newListenCommand(g *globals) *cobra.Command {
	var addr string
	var secrets []string
	var manners manners
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Receive webhooks during development: verify, print, count duplicates",
		Long: `Receive webhooks during development. Each request is verified and printed in a
line; those that came before, to the same path and query and under the same
webhook-id, and were accepted are counted as duplicates. --status, --delay and
--fail-rate make it a receiver in trouble.

Without --secret, the secrets are taken from the variable ` + listenSecretEnv + `;
without either nothing is verified. A webhook that does not verify is answered
with 401.`,
		Example: `  fanjet listen --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
  fanjet listen --addr 127.0.0.1:9001 --fail-rate 0.5 --delay 200ms`,
	}
	flags := cmd.Flags()
	flags.StringVar(&addr, "addr", "127.0.0.1:9000", "`host:port` to listen on; port 0 picks a free one")
	flags.StringArrayVar(&secrets, "secret", nil, "`secret` to verify with; may be repeated")
	flags.IntVar(&manners.status, "status", http.StatusOK, "HTTP status of the answer")
	flags.DurationVar(&manners.delay, "delay", 0, "how long to wait before the answer")
	flags.Float64Var(&manners.failRate, "fail-rate", 0, "share of the requests, 0 to 1, to answer with 500")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := manners.check(); err != nil {
			return err
		}
		if len(secrets) == 0 {
			secrets = strings.FieldsFunc(os.Getenv(listenSecretEnv), func(r rune) bool { return r == ',' || r == ' ' })
		}
		var verifier *webhook.Verifier
		if len(secrets) > 0 {
			var err error
			if verifier, err = webhook.NewVerifier(secrets...); err != nil {
				return usagef("--secret or %s: %w", listenSecretEnv, err)
			}
		}
		return g.listen(cmd.Context(), addr, newReceiver(verifier, manners, g.out))
	}
	return cmd
}

// listen serves until ctx ends, then prints what came.
func (g *globals) listen(ctx context.Context, addr string, r *receiver) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          zap.NewStdLog(g.logger()),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	fmt.Fprintf(g.err, "listening on http://%s, %s; Ctrl-C ends\n", listener.Addr(), r.verification())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenGrace)
		defer cancel()
		err = server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		if why := <-served; !errors.Is(why, http.ErrServerClosed) {
			err = errors.Join(err, why)
		}
	}
	fmt.Fprintln(g.out, r.summary())
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
