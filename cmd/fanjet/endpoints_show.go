package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanjet/subscriber"
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
	if err := o.checkNames(ctx, []string{name}); err != nil {
		return err
	}
	found, err := o.survey(ctx, name)
	if err != nil {
		return err
	}
	views := found.views(o)
	i := slices.IndexFunc(views, func(v endpointView) bool { return v.Endpoint == name })
	if i < 0 {
		return o.unknown(name) // it was known a moment ago
	}
	v := views[i]
	for _, r := range found.reports {
		for _, s := range r.Statuses {
			if s.Endpoint == name {
				v.Replicas = append(v.Replicas, replicaView{r.Replica, s})
			}
		}
	}
	if e, ok := o.configured[name]; ok {
		v.Settings = settingsOf(&e)
	}
	if v.LastResume, err = subscriber.LastResume(ctx, o.state, name); err != nil {
		return err
	}
	if out.json() {
		err = writeJSON(g.out, v)
	} else {
		err = g.printEndpoint(v, time.Now())
	}
	if err != nil {
		return err
	}
	return found.noGateway
}

func (g *globals) printEndpoint(v endpointView, now time.Time) error {
	table := newTable(g.out)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, printable(value))
		}
	}
	row("endpoint", v.Endpoint)
	row("state", string(v.State))
	row("reason", reasonOf(v))
	if !v.Since.IsZero() {
		row("since", fmt.Sprintf("%s (%s)", shortTime(v.Since), ago(now, v.Since)))
	}
	row("next", nextText(v.State, v.Next, now))
	if v.Pause != nil {
		row("blocked by", v.Pause.Blocked)
	}
	if r := v.LastResume; r != nil {
		row("last resumed", fmt.Sprintf("%s by %s, after a pause of %s %s", shortTime(r.At), r.By, shortDuration(r.At.Sub(r.Pause.Since)), describePause(r.Pause)))
	}
	row("in flight", strconv.Itoa(v.InFlight))
	row("waiting", strconv.FormatUint(v.waits(), 10))
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
		v.Settings.rows(row)
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
func nextText(state subscriber.State, next, now time.Time) string {
	if next.IsZero() {
		return ""
	}
	what := "attempts again"
	if state == subscriber.StateOpen {
		what = "a probe"
	}
	if !next.After(now) {
		return what + " now"
	}
	return what + " in " + shortDuration(next.Sub(now))
}

// endpointSettings are the settings of an endpoint that are no secret, in the
// words of the configuration.
type endpointSettings struct {
	URL          string   `json:"url"` // without path and query, which may be secret
	Headers      []string `json:"headers,omitempty"`
	Timeout      string   `json:"timeout"`
	MaxInFlight  int      `json:"max_in_flight"`
	RateLimit    string   `json:"rate_limit,omitempty"`
	Ordered      bool     `json:"ordered,omitempty"`
	OnExhausted  string   `json:"on_exhausted,omitempty"`
	Schedule     []string `json:"retry_schedule"`
	Jitter       float64  `json:"retry_jitter"`
	MaxAge       string   `json:"retry_max_age"`
	Circuit      string   `json:"circuit"`
	DeadLetterOn []int    `json:"dead_letter_on"`
}

func settingsOf(e *subscriber.Endpoint) *endpointSettings {
	s := &endpointSettings{
		URL:          publicURL(e.URL),
		Headers:      slices.Sorted(maps.Keys(e.Headers)),
		Timeout:      plainDuration(e.Timeout),
		MaxInFlight:  e.MaxInFlight,
		Ordered:      e.Ordered,
		Schedule:     []string{},
		Jitter:       e.Retry.Jitter,
		MaxAge:       plainDuration(e.Retry.MaxAge),
		Circuit:      "never opens",
		DeadLetterOn: e.DeadLetterOn,
	}
	for _, wait := range e.Retry.Schedule {
		s.Schedule = append(s.Schedule, plainDuration(wait))
	}
	if e.RateLimit.Count > 0 {
		unit := "s"
		if e.RateLimit.Per == time.Minute {
			unit = "m"
		}
		s.RateLimit = fmt.Sprintf("%d/%s", e.RateLimit.Count, unit)
	}
	if e.Ordered {
		s.OnExhausted = "dead_letter"
		if e.Block {
			s.OnExhausted = "block"
		}
	}
	if c := e.Circuit; c.Failures > 0 {
		s.Circuit = fmt.Sprintf("opens after %s in a row, probes every %s to %s",
			counted(c.Failures, "failure"), plainDuration(c.Probe), plainDuration(c.MaxProbe))
	}
	return s
}

func (s *endpointSettings) rows(row func(name, value string)) {
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

// publicURL is a URL without what may carry a secret.
func publicURL(u *url.URL) string {
	if u == nil {
		return ""
	}
	text := u.Scheme + "://" + u.Host
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		text += "/…"
	}
	return text
}

// plainDuration is a duration as people write it: 2m, not 2m0s.
func plainDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
