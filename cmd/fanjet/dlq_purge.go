package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/dlq"
	"fanjet/internal/control"
)

func newDLQPurgeCommand(g *globals) *cobra.Command {
	var options dlq.PurgeOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge",
		Short: "Remove letters for good",
		Long: `Remove letters for good: they will never be delivered. It says which ones, and asks
first. Letters that arrive meanwhile stay. It takes a filter, or --all.

To keep what is removed, use drain.`,
		Example: `  fanjet dlq purge --endpoint old-crm --dry-run
  fanjet dlq purge --until 30d --yes
  fanjet dlq purge --all`,
	}
	flags := g.addDLQSelection(cmd)
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "only show how many would be purged")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "letters per second at most; 0 means as fast as NATS can")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	act := addActFlags(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkRate(options.Rate); err != nil {
			return err
		}
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
			counts, err := queue.Freeze(ctx, &filter) // what arrives during the question stays
			if err != nil {
				return err
			}
			n := counts.Total()
			if options.DryRun {
				report, err := queue.Purge(ctx, act.act(n), filter, options)
				return g.endOperation("would purge", report, out, err)
			}
			if n == 0 {
				return g.endOperation("purged", control.NothingSelected(), out, nil)
			}
			if !yes {
				if err := g.confirm(ctx, fmt.Sprintf("Remove %s for good?", selected(filter, counts))); err != nil {
					return err
				}
			}
			show := g.newProgress("purged", n)
			options.Progress = show.update
			report, err := queue.Purge(ctx, act.act(n), filter, options)
			show.end()
			return g.endOperation("purged", report, out, err)
		})
	}
	return cmd
}
