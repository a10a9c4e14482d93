package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/dlq"
	"fanjet/internal/control"
)

// replayUnasked is how many letters are replayed without a question.
const replayUnasked = 1000

func newDLQReplayCommand(g *globals) *cobra.Command {
	var options dlq.ReplayOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Deliver letters again and remove them from the queue",
		Long: `Deliver letters again. Each becomes a new delivery to its endpoint, with the same
webhook-id and body and a fresh retry schedule, and leaves the queue once NATS
has stored that delivery. Letters that arrive meanwhile are left alone.

It can be interrupted, and run again: nothing is lost, and nothing is delivered
twice when it is run again within two minutes. Above 1,000 letters it asks first.`,
		Example: `  fanjet dlq replay --endpoint billing --dry-run
  fanjet dlq replay --endpoint billing --rate 50
  fanjet dlq replay --reason exhausted --since 2h --yes`,
	}
	flags := addDLQFilter(cmd)
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "only show what would be replayed")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "letters per second at most; 0 means as fast as NATS stores them")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	act := addActFlags(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if options.Rate < 0 {
			return usagef("--rate %v: must not be negative", options.Rate)
		}
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *control.Letters, filter dlq.Filter) error {
			if options.DryRun {
				report, err := queue.Replay(ctx, act.act(0), filter, options)
				return g.endOperation("would replay", report, out, err)
			}
			n, err := queue.Freeze(ctx, &filter) // what arrives during the question stays
			if err != nil {
				return err
			}
			if n > replayUnasked && !yes {
				if err := g.confirm(ctx, fmt.Sprintf("Replay %s?", counted(n, "letter"))); err != nil {
					return err
				}
			}
			show := g.newProgress("replayed", n)
			options.Progress = show.update
			report, err := queue.Replay(ctx, act.act(n), filter, options)
			show.end()
			return g.endOperation("replayed", report, out, err)
		})
	}
	return cmd
}
