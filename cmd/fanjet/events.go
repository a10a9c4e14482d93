package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/internal/control"
	"fanjet/internal/slip"
)

func newEventsCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Skip events of a source that nobody shall get",
		Long: `Act on the events of a source before they are fanned out to endpoints. What became
of them after that, ` + "`fanjet endpoints`" + ` and ` + "`fanjet dlq`" + ` tell.`,
		Example: `  fanjet events skip --source EVENTS --to 1200 --dry-run`,
	}
	cmd.AddCommand(newEventsSkipCommand(g))
	return cmd
}

func newEventsSkipCommand(g *globals) *cobra.Command {
	var skip control.EventsSkip
	var yes bool
	cmd := &cobra.Command{
		Use:   "skip",
		Short: "Pass over events that are not fanned out yet",
		Long: `Pass over the events of a source, up to a sequence, that are not fanned out yet: no
endpoint will ever get them. They stay in the stream. Gateways that run notice within
seconds; what they are fanning out at the moment may still be delivered. No gateway
need run. It asks first.

This is the way to leave a backlog behind. A consumer that is moved in NATS
(` + "`nats consumer reset`" + `) goes back for what it passed over.`,
		Example: `  fanjet events skip --source EVENTS --to 1200 --dry-run
  fanjet events skip --source EVENTS --to 1200 --reason "a load test wrote them"`,
	}
	flags := cmd.Flags()
	flags.StringVar(&skip.Source, "source", "", "`STREAM` that the events are in; required")
	flags.Uint64Var(&skip.To, "to", 0, "`SEQUENCE` of the last event to skip; required")
	selectOnce(cmd, "source", "to")
	flags.StringVar(&skip.Reason, "reason", "", "why, for those who read the audit")
	flags.BoolVar(&skip.DryRun, "dry-run", false, "only show which would be skipped")
	flags.BoolVar(&yes, "yes", false, "do not ask")
	allowEmpty(cmd, "reason")
	_ = cmd.RegisterFlagCompletionFunc("source", g.completeSources)
	by := addBy(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if skip.Source == "" {
			return usagef("--source: name the stream of the events")
		}
		if skip.To == 0 {
			return usagef("--to: name the sequence of the last event to skip, from 1; the log and `nats stream info %s` show sequences", skip.Source)
		}
		return g.withOperator(cmd.Context(), func(ctx context.Context, o *operator) error {
			if err := o.checkSource(skip.Source); err != nil {
				return err
			}
			if !skip.DryRun && !yes {
				plan, err := o.PlanSkip(ctx, skip)
				if err != nil {
					return err
				}
				if err := g.confirm(ctx, "Skip "+skipped(plan)+"? What is skipped, nobody will ever get."); err != nil {
					return err
				}
			}
			report, err := o.SkipEvents(ctx, *by, skip)
			if err != nil {
				return err
			}
			if out.json() {
				if err := writeJSON(g.out, &report); err != nil {
					return err
				}
			} else {
				did := "skipped"
				if report.DryRun {
					did = "would skip"
				}
				fmt.Fprintf(g.out, "%s %s\n", did, skipped(report))
			}
			return g.unrecorded(report.AuditError)
		})
	}
	return cmd
}

// skipped says which events are skipped.
func skipped(r control.EventsReport) string {
	if r.From == r.To {
		return fmt.Sprintf("the event %s/%d", r.Source, r.To)
	}
	return fmt.Sprintf("the events %s/%d to %d, up to %d of them", r.Source, r.From, r.To, r.Events)
}

// checkSource refuses a stream that the configuration does not name as a source.
func (o *operator) checkSource(stream string) error {
	if slices.Contains(o.sources, stream) {
		return nil
	}
	place := "the default configuration, or what could be read: there is no whole file here"
	if o.file != "" {
		place = o.file
	}
	return fmt.Errorf("the stream %q is no source of %s%s", stream, place, slip.DidYouMean(stream, o.sources))
}

// sourcesOf are the streams that events come from.
func sourcesOf(cfg *config.Config) []string {
	var names []string
	for _, s := range cfg.Sources {
		names = append(names, s.Stream)
	}
	return names
}

// completeSources lets the Tab key offer the sources of the configuration.
func (g *globals) completeSources(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, _, _, err := g.readClient()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return sourcesOf(cfg), cobra.ShellCompDirectiveNoFileComp
}
