package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/spf13/cobra"
)

func newEndpointsPingCommand(g *globals) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ping NAME",
		Short: "Send a test event to an endpoint",
		Long: `Let one of the running gateways send a small test event to an endpoint, signed, with
the endpoint's headers and under its egress policy, as it would send any event, but
past what waits, pauses and limits. It is stored nowhere and not tried again.

It changes nothing of what deliveries wait for, whatever the answer: a Retry-After, a
circuit or a pause is named beside it, and "fanjet endpoints resume" ends it.

The command ends with 0 if the endpoint answers 2xx, with 1 if not.`,
		Example: `  fanjet endpoints ping billing
  fanjet endpoints ping billing --timeout 3s`,
		Args:              oneEndpoint,
		ValidArgsFunction: g.completeEndpoints(1),
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait; the endpoint's own timeout may end the attempt sooner")
	by := addBy(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if timeout <= 0 || timeout > endpoint.MaxTimeout {
			return usagef("--timeout %v: must be more than 0 and at most %v", timeout, endpoint.MaxTimeout)
		}
		return g.withOperator(cmd.Context(), func(ctx context.Context, o *operator) error {
			if err := o.checkNames(ctx, args); err != nil {
				return err
			}
			answer, err := o.Ping(ctx, *by, args[0], timeout)
			if err != nil {
				_ = g.unrecorded(answer.AuditError)
				return err
			}
			if out.json() {
				err = writeJSON(g.out, &answer)
			} else {
				fmt.Fprintln(g.out, printable(describePing(&answer.PingAnswer)))
			}
			err = cmp.Or(err, g.unrecorded(answer.AuditError))
			if err == nil && !answer.OK() {
				err = errSilent
			}
			return err
		})
	}
	return cmd
}

// describePing says what became of a test event, and why deliveries wait.
func describePing(a *control.PingAnswer) string {
	text := describeAnswer(a)
	if a.State == "" {
		return text
	}
	why := fmt.Sprintf("%s (%s)", a.State, a.Reason)
	if strings.HasPrefix(a.Reason, string(a.State)+" ") { // "paused by ann: …"
		why = a.Reason
	}
	does := "ends that"
	if a.State == endpoint.StateRefusing {
		does = "lets the next one go at once"
	}
	return fmt.Sprintf("%s; its deliveries wait nevertheless, for it is %s; fanjet endpoints resume %s %s", text, why, a.Endpoint, does)
}

func describeAnswer(a *control.PingAnswer) string {
	took := latency(a.TookMS)
	switch {
	case a.Class == "":
		return fmt.Sprintf("%s: not tried by the gateway on %s: %s", a.Endpoint, a.Replica.Host, a.Error)
	case a.Status == 0:
		return fmt.Sprintf("%s: no response after %s: %s", a.Endpoint, took, a.Error)
	}
	text := fmt.Sprintf("%s: %d in %s", a.Endpoint, a.Status, took)
	if a.Error != "" {
		text += ": " + strings.TrimPrefix(a.Error, fmt.Sprintf("%s: %d ", a.Class, a.Status))
	}
	return text
}
