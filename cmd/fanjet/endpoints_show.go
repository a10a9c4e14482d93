package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/spf13/cobra"
)

func newEndpointsShowCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one endpoint: state, what waits, settings, every gateway",
		Long: `Show an endpoint: how it does and why, what waits for it, its settings in the
configuration file, and what every gateway says. Secrets, the values of headers and
the path of the URL stay out.`,
		Example: `  fanjet endpoints show billing
  fanjet endpoints show billing -o json | jq .replicas`,
		Args:              oneEndpoint,
		ValidArgsFunction: g.completeEndpoints(1),
	}
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return g.withOperator(cmd.Context(), func(ctx context.Context, o *operator) error {
			return g.showEndpoint(ctx, o, args[0], out)
		})
	}
	return cmd
}

func (g *globals) showEndpoint(ctx context.Context, o *operator, name string, out *output) error {
	v, noGateway := o.Endpoint(ctx, name)
	switch {
	case errors.Is(noGateway, control.ErrUnknownEndpoint):
		return o.explain(noGateway)
	case noGateway != nil && !errors.Is(noGateway, control.ErrNoGateway):
		return noGateway
	}
	g.partial([]control.EndpointView{*v})
	var err error
	if out.json() {
		err = writeJSON(g.out, v)
	} else {
		err = g.printEndpoint(v, time.Now())
	}
	if err != nil {
		return err
	}
	return noGateway
}

func (g *globals) printEndpoint(v *control.EndpointView, now time.Time) error {
	table := newTable(g.out)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, printable(value))
		}
	}
	row("endpoint", v.Endpoint)
	row("state", string(v.State))
	row("reason", reasonOf(*v))
	if !v.Since.IsZero() {
		row("since", fmt.Sprintf("%s (%s)", shortTime(v.Since), ago(now, v.Since)))
	}
	row("next", nextText(v.State, v.Next, now))
	if v.Pause != nil {
		row("blocked by", v.Pause.Blocked)
	}
	if r := v.LastResume; r != nil {
		row("last resumed", fmt.Sprintf("%s by %s, after a pause of %s %s", shortTime(r.At), r.By, shortDuration(r.At.Sub(r.Pause.Since)), control.DescribePause(r.Pause)))
	}
	if n := v.Gateways; n.Known > 0 {
		row("gateways", fmt.Sprintf("%d of %d answered", n.Answered, n.Known))
	}
	row("in flight", strconv.Itoa(v.InFlight))
	row("waiting", strconv.FormatUint(v.Waits(), 10))
	if !v.Oldest.IsZero() {
		row("oldest", fmt.Sprintf("%s (%s)", shortTime(v.Oldest), ago(now, v.Oldest)))
	}
	row("retries", strconv.FormatUint(v.Retries, 10))
	row("dead letters", strconv.FormatUint(v.DeadLetters, 10))
	row("delivered", strconv.FormatUint(v.Delivered, 10))
	row("failed attempts", strconv.FormatUint(v.Failed, 10))
	row("latency", latency(v.LatencyMS))
	row("last error", v.LastError)
	if v.Settings != nil {
		settingRows(v.Settings, row)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(v.Replicas) == 0 {
		return nil
	}
	fmt.Fprintln(g.out)
	fmt.Fprintln(table, "GATEWAY\tHOST\tVERSION\tUP\tSTATE\tSINCE\tIN-FLIGHT\tHELD\tDELIVERED\tFAILED\tLATENCY\tREASON")
	for _, r := range v.Replicas {
		s := r.Status
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", printable(r.ID), printable(r.Host), printable(r.Version),
			ago(now, r.Started), s.State, ago(now, s.Since), s.InFlight, s.Held, s.Delivered, s.Failed, latency(s.LatencyMS), printable(s.Reason))
	}
	return table.Flush()
}

// nextText says what an endpoint waits for.
func nextText(state endpoint.State, next, now time.Time) string {
	if next.IsZero() {
		return ""
	}
	what := "attempts again"
	switch state {
	case control.StateRemoved, control.StateUnknown:
		what = "its deliveries become dead letters"
	case endpoint.StateOpen:
		what = "a probe"
	case endpoint.StateRefusing:
		what = "one attempt"
	}
	if !next.After(now) {
		return what + " now"
	}
	return what + " in " + shortDuration(next.Sub(now))
}

// settingRows shows settings.
func settingRows(s *control.EndpointSettings, row func(name, value string)) {
	row("url", s.URL)
	row("headers", strings.Join(s.Headers, ", "))
	row("timeout", s.Timeout)
	row("max_in_flight", strconv.Itoa(s.MaxInFlight))
	row("rate_limit", s.RateLimit)
	if s.Ordered {
		row("ordered", "yes, on_exhausted: "+s.OnExhausted)
	}
	row("retries after", strings.Join(s.Schedule, ", "))
	row("max_age", s.MaxAge)
	row("circuit", s.Circuit)
	row("dead_letter_on", strings.Trim(fmt.Sprint(s.DeadLetterOn), "[]"))
}
