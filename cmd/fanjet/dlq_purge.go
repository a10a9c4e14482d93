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
		Long: `Remove letters for good: they will never be delivered. It asks first. Letters that
arrive meanwhile stay.`,
		Example: `  fanjet dlq purge --endpoint old-crm --dry-run
  fanjet dlq export --endpoint old-crm > old-crm.jsonl && fanjet dlq purge --endpoint old-crm
  fanjet dlq purge --until 30d --yes`,
	}
	flags := addDLQFilter(cmd)
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "only show how many would be purged")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "letters per second at most; 0 means as fast as NATS can")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	act := addActFlags(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if options.Rate < 0 {
			return usagef("--rate %v: must not be negative", options.Rate)
		}
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *control.Letters, filter dlq.Filter) error {
			n, err := queue.Freeze(ctx, &filter) // what arrives during the question stays
			if err != nil {
				return err
			}
			if options.DryRun {
				report, err := queue.Purge(ctx, act.act(n), filter, options)
				return g.endOperation("would purge", report, out, err)
			}
			if n == 0 {
				return g.endOperation("purged", control.LettersReport{Failures: []control.LetterFailure{}, Complete: true}, out, nil)
			}
			if !yes {
				if err := g.confirm(ctx, fmt.Sprintf("Remove %s for good?", counted(n, "letter"))); err != nil {
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
