package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/spf13/cobra"
)

func newEndpointsListCommand(g *globals) *cobra.Command {
	var states []string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List endpoints: state, what waits, latency",
		Long: `List the endpoints of the configuration, and those that NATS still holds something
for. Of several gateways the worst state counts, and numbers are added up.

WAITING deliveries wait for an attempt, the oldest since OLDEST; RETRIES wait for the
time of their next attempt; DEAD ones were given up. LATENCY is the mean time of an
attempt. Of an endpoint that was removed, SINCE is when its deliveries began to wait. A
gateway that lives and does not answer is named on stderr. Without a running gateway
the state is unknown, what waits is shown, and the command ends with 1.`,
		Example: `  fanjet endpoints list
  fanjet endpoints list --state paused,open
  fanjet endpoints list -o json | jq -r '.[] | select(.waiting > 1000) | .endpoint'`,
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "endpoints in one of these `STATES`, such as open,paused")
	var words []string
	for _, s := range control.StatesByTrouble() {
		words = append(words, string(s))
	}
	completeWords(cmd, "state", words...)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, s := range states {
			if !slices.Contains(words, s) {
				return usagef("--state %q: there is no such state; the states are %v", s, words)
			}
		}
		return g.withOperator(cmd.Context(), func(ctx context.Context, o *operator) error {
			views, noGateway := o.Endpoints(ctx)
			if noGateway != nil && !errors.Is(noGateway, control.ErrNoGateway) {
				return noGateway
			}
			g.partial(views)
			if len(states) > 0 {
				views = slices.DeleteFunc(views, func(v control.EndpointView) bool { return !slices.Contains(states, string(v.State)) })
			}
			show := g.printEndpoints
			if out.json() {
				show = func(views []control.EndpointView, _ time.Time) error { return writeJSON(g.out, views) }
			}
			if err := show(views, time.Now()); err != nil {
				return err
			}
			return noGateway
		})
	}
	return cmd
}

// partial says which gateways did not answer.
func (g *globals) partial(views []control.EndpointView) {
	if len(views) > 0 && views[0].Gateways.String() != "" {
		g.warn("%s: what they know is missing here", printable(views[0].Gateways.String()))
	}
}

func (g *globals) printEndpoints(views []control.EndpointView, now time.Time) error {
	if len(views) == 0 {
		fmt.Fprintln(g.err, "no endpoints")
		return nil
	}
	table := newTable(g.out)
	fmt.Fprintln(table, "NAME\tSTATE\tSINCE\tIN-FLIGHT\tWAITING\tOLDEST\tRETRIES\tDEAD\tLATENCY\tREASON")
	for _, v := range views {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\n", printable(v.Endpoint), v.State, ago(now, v.Since), v.InFlight,
			v.Waits(), ago(now, v.Oldest), v.Retries, v.DeadLetters, latency(v.LatencyMS), printable(reasonOf(v)))
	}
	return table.Flush()
}

// reasonOf is why an endpoint is not healthy; of a healthy one, nothing.
func reasonOf(v control.EndpointView) string {
	if v.State == endpoint.StateHealthy {
		return ""
	}
	return v.Reason
}

// ago is how long ago something was, for people.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return shortDuration(now.Sub(then))
}

// shortDuration is a duration in the one or two units that matter.
func shortDuration(d time.Duration) string {
	d = max(d, 0).Round(time.Second) // clocks differ
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}

// latency shows milliseconds with about three digits.
func latency(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + "ms"
	case ms < 1000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
	default:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
	}
}
