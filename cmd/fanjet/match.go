package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/internal/wire"
)

// matchReport is what `match -o json` prints.
type matchReport struct {
	Event         matchEvent     `json:"event"`
	Endpoints     []string       `json:"endpoints"`
	Subscriptions []matchVerdict `json:"subscriptions"`
}

type matchEvent struct {
	Subject    string          `json:"subject"`
	Source     string          `json:"source,omitempty"` // stream that takes the subject
	Headers    nats.Header     `json:"headers"`
	Data       json.RawMessage `json:"data,omitempty"`        // JSON as it is, other text as a string
	DataBase64 []byte          `json:"data_base64,omitempty"` // what is no text
}

type matchVerdict struct {
	Name      string   `json:"name"`
	Matched   bool     `json:"matched"`
	Reason    string   `json:"reason"`
	Endpoints []string `json:"endpoints"`
}

func newMatchCommand(g *globals) *cobra.Command {
	var subject, data string
	var headers, expect []string
	cmd := &cobra.Command{
		Use:   "match --subject SUBJECT [--data DATA|@FILE|-] [--header NAME=VALUE]…",
		Short: "Show which endpoints would get an event, and why",
		Long: `Show which endpoints would get an event, and for each subscription why it
matches or why not. Nothing is published and nothing is connected to; only the
configuration file is read.

--data takes what ` + "`fanjet publish`" + ` takes; without it the event is empty. The name of a
file that exists stands for the file also without the @.

With --expect it ends with 1 if other endpoints than those would get the event, for a
check before a change is merged; --expect "" says that nobody gets it.`,
		Example: `  fanjet match --subject events.orders.eu.paid --data '{"amount": 1500}'
  fanjet match --subject events.orders.eu.paid --data @order.json
  echo '{"amount": 1500}' | fanjet match --subject events.paid --data - -o json
  fanjet match --subject events.orders.eu.paid --data @order.json --expect billing,crm`,
	}
	cmd.Flags().StringVar(&subject, "subject", "", "subject that the event is published on")
	cmd.Flags().StringVar(&data, "data", "", "the event's `body`; @FILE reads a file, - the standard input")
	allowEmpty(cmd, "data") // as in publish
	cmd.Flags().StringArrayVar(&headers, "header", nil, "header of the event, as `NAME=VALUE`; may be repeated; filters find it in any spelling")
	cmd.Flags().StringSliceVar(&expect, "expect", nil, "end with 1 unless exactly these `endpoints` get the event")
	allowEmpty(cmd, "expect")
	out := addOutputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if subject == "" {
			return usagef("--subject is missing: on which subject is the event published?")
		}
		if err := checkEventSubject(subject); err != nil {
			return err
		}
		ev := &match.Event{Subject: subject, Time: time.Now().UTC()}
		header, err := parseHeaders(headers)
		if err != nil {
			return err
		}
		ev.Header = header
		if ev.Data, err = g.readDataOrFile(data); err != nil {
			return err
		}
		cfg, err := g.loadConfig(config.Options{NoSecrets: true})
		if err != nil {
			return err
		}
		report, err := explainMatch(cfg, ev)
		if err != nil {
			return err
		}
		if out.json() {
			err = writeJSON(g.out, report)
		} else {
			err = g.printMatch(report)
		}
		if err != nil || !cmd.Flags().Changed("expect") {
			return err
		}
		return g.compare(report.Endpoints, expect)
	}
	return cmd
}

// compare says which endpoints get an event that are not expected to, and which do not that
// are. It fails if there are any.
func (g *globals) compare(got, want []string) error {
	missing := func(from, these []string) (out []string) {
		for _, name := range from {
			if !slices.Contains(these, name) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
		return out
	}
	lacking, more := missing(want, got), missing(got, want)
	if len(lacking) > 0 {
		fmt.Fprintf(g.err, "not as expected: %s should get this event\n", strings.Join(lacking, ", "))
	}
	if len(more) > 0 {
		fmt.Fprintf(g.err, "not as expected: %s should not get this event\n", strings.Join(more, ", "))
	}
	if len(lacking)+len(more) > 0 {
		return errSilent
	}
	return nil
}

func explainMatch(cfg *config.Config, ev *match.Event) (matchReport, error) {
	matcher, err := cfg.Filters.Matcher(cfg.Subscriptions)
	if err != nil {
		return matchReport{}, err
	}
	report := matchReport{
		Event:         describeEvent(ev),
		Endpoints:     []string{},
		Subscriptions: []matchVerdict{},
	}
	position := wire.Position{Stored: ev.Time, Created: ev.Time}
	byPosition := false
	for _, source := range cfg.Sources {
		for _, pattern := range source.Subjects {
			if server.SubjectMatchesFilter(ev.Subject, pattern) {
				report.Event.Source = source.Stream
				position.Stream, byPosition = source.Stream, source.ByPosition
			}
		}
	}
	ev.ID = wire.EventID(ev.Header, ev.Data, position, byPosition)
	report.Endpoints = matcher.Match(ev, report.Endpoints, nil)
	for _, v := range matcher.Explain(ev) {
		report.Subscriptions = append(report.Subscriptions, matchVerdict{v.Subscription, v.Matched, v.Reason, v.Endpoints})
	}
	return report, nil
}

func describeEvent(ev *match.Event) matchEvent {
	e := matchEvent{Subject: ev.Subject, Headers: ev.Header}
	switch {
	case len(ev.Data) == 0:
	case json.Valid(ev.Data):
		e.Data = ev.Data
	case utf8.Valid(ev.Data):
		e.Data, _ = json.Marshal(string(ev.Data)) // a string always has a JSON form
	default:
		e.DataBase64 = ev.Data
	}
	return e
}

func (g *globals) printMatch(report matchReport) error {
	if len(report.Endpoints) == 0 {
		fmt.Fprintln(g.out, "No endpoint gets this event.")
	} else {
		fmt.Fprintf(g.out, "Goes to: %s\n", strings.Join(report.Endpoints, ", "))
	}
	if report.Event.Source == "" {
		fmt.Fprintf(g.err, "warning: no source takes the subject %s, so Fanjet would never see the event; see sources[].subjects\n", report.Event.Subject)
	}
	if len(report.Subscriptions) == 0 {
		return nil
	}
	fmt.Fprintln(g.out)
	table := newTable(g.out)
	fmt.Fprintln(table, "SUBSCRIPTION\tMATCH\tENDPOINTS\tWHY")
	for _, s := range report.Subscriptions {
		verdict := "no"
		if s.Matched {
			verdict = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, verdict, strings.Join(s.Endpoints, ","), s.Reason)
	}
	return table.Flush()
}
