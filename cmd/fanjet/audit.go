package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fanjet/internal/audit"
	"fanjet/internal/wire"
)

func newAuditCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "See what operators did",
		Long: `See what operators did: who held, resumed or tested which endpoint, replayed, purged or
drained dead letters, skipped events, or changed the configuration, when, why, and what
came of it.`,
		Example: `  fanjet audit list
  fanjet audit list --action purge --since 30d`,
	}
	cmd.AddCommand(newAuditListCommand(g))
	return cmd
}

func newAuditListCommand(g *globals) *cobra.Command {
	var since, until, action string
	var filter audit.Filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what operators did, newest first",
		Long: `List what operators did, newest first. The way (VIA) is part of what NATS guards
with permissions. The actor of the HTTP API is the name of a token, which is proven;
on the command line it is claimed.`,
		Example: `  fanjet audit list --limit 20
  fanjet audit list --action purge --since 30d
  fanjet audit list --actor ann -o json`,
	}
	flags := cmd.Flags()
	flags.StringVar(&since, "since", "", "at this `TIME` or later: RFC 3339, or so long ago, such as 2h or 3d")
	flags.StringVar(&until, "until", "", "before this `TIME`")
	flags.StringVar(&action, "action", "", "only this `ACTION`, such as purge")
	flags.StringVar(&filter.Actor, "actor", "", "only what this `NAME` did")
	flags.IntVar(&filter.Limit, "limit", 100, "only the newest so many; 0 means all")
	var actions []string
	for _, a := range audit.Actions() {
		actions = append(actions, string(a))
	}
	completeWords(cmd, "action", actions...)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		now := time.Now()
		var err error
		if filter.Since, err = parseTime("since", since, now); err != nil {
			return err
		}
		if filter.Until, err = parseTime("until", until, now); err != nil {
			return err
		}
		filter.Action = audit.Action(action)
		if err := filter.Validate(); err != nil {
			return usagef("--%w", err)
		}
		return g.listAudit(cmd.Context(), filter, out)
	}
	return cmd
}

func (g *globals) listAudit(ctx context.Context, filter audit.Filter, out *output) error {
	settings, err := g.loadNATS()
	if err != nil {
		return err
	}
	nc, err := g.connect(ctx, settings, "fanjet audit")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := settings.JetStream(nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	records, err := collect(audit.New(js, wire.NewNames(settings.Prefix)).List(ctx, filter))
	if err != nil {
		return settings.Unanswered(nc, err)
	}
	if out.json() {
		return writeJSON(g.out, records)
	}
	return g.printAudit(records)
}

// collect returns what a sequence yields before its first error.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	found := []T{}
	for item, err := range seq {
		if err != nil {
			return found, err
		}
		found = append(found, item)
	}
	return found, nil
}

func (g *globals) printAudit(records []audit.Record) error {
	if len(records) == 0 {
		fmt.Fprintln(g.err, "nothing was recorded")
		return nil
	}
	table := newTable(g.out)
	fmt.Fprintln(table, "TIME\tVIA\tACTOR\tACTION\tTARGET\tRESULT\tDETAIL")
	for _, r := range records {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shortTime(r.Time), printable(string(r.Via)), printable(actorText(r.Actor)), printable(string(r.Action)),
			orDash(r.Target), printable(r.Result), printable(auditDetail(&r)))
	}
	return table.Flush()
}

func actorText(a audit.Actor) string {
	text := a.Name
	if a.Host != "" {
		text += "@" + a.Host
	}
	if a.User != "" && a.User != a.Name {
		text += " (user " + a.User + ")"
	}
	return text
}

// auditDetail is the rest of a record in one line.
func auditDetail(r *audit.Record) string {
	var parts []string
	if r.DryRun {
		parts = append(parts, "dry run")
	}
	if r.Action.OnLetters() {
		selection := "all letters"
		if len(r.Filter) > 0 {
			var pairs []string
			for _, name := range slices.Sorted(maps.Keys(r.Filter)) {
				pairs = append(pairs, name+"="+r.Filter[name])
			}
			selection = strings.Join(pairs, " ")
		}
		parts = append(parts, selection, counted(r.Count, "letter"))
		if r.Skipped > 0 {
			parts = append(parts, fmt.Sprintf("%d gone already", r.Skipped))
		}
		if r.Failed > 0 {
			parts = append(parts, fmt.Sprintf("%d failed", r.Failed))
		}
	}
	for _, text := range []string{r.Detail, r.Reason} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}
