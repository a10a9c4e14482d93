package main

import (
	"context"
	"errors"
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
has stored that delivery. Letters that arrive meanwhile are left alone. It takes a
filter, or --all.

Letters for an endpoint that is paused, refusing, or whose circuit is open, wait for it
once they are replayed: it says how many, why, and until when. Letters for one that was
removed from the configuration are not replayed.

It can be interrupted, and run again: nothing is lost, and nothing is delivered
twice when it is run again within two minutes. Above 1,000 letters it asks first.`,
		Example: `  fanjet dlq replay --endpoint billing --dry-run
  fanjet dlq replay --endpoint billing --rate 50
  fanjet dlq replay --reason exhausted --since 2h --yes
  fanjet dlq replay --all`,
	}
	flags := g.addDLQSelection(cmd)
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "only show what would be replayed")
	cmd.Flags().Float64Var(&options.Rate, "rate", 0, "letters per second at most; 0 means as fast as NATS stores them")
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
			outlook, err := g.outlook(ctx, queue, filter, counts)
			if err != nil {
				return err
			}
			n := counts.Total()
			if options.DryRun {
				report, err := queue.Replay(ctx, act.act(n), filter, outlook, options)
				return g.endOperation("would replay", report, out, err)
			}
			if n > replayUnasked && !yes {
				if err := g.confirm(ctx, fmt.Sprintf("Replay %s?", selected(filter, counts))); err != nil {
					return err
				}
			}
			show := g.newProgress("replayed", n)
			options.Progress = show.update
			report, err := queue.Replay(ctx, act.act(n), filter, outlook, options)
			show.end()
			return g.endOperation("replayed", report, out, err)
		})
	}
	return cmd
}

// maxNotes bounds how many endpoints a replay tells of.
const maxNotes = 20

// outlook says which letters will wait once they are replayed, and refuses those
// of an endpoint that is removed. Whoever may not ask the gateways is told so, and
// may replay nevertheless.
func (g *globals) outlook(ctx context.Context, queue *dlqClient, filter dlq.Filter, counts dlq.Counts) (control.Outlook, error) {
	outlook, err := queue.Outlook(ctx, filter, counts)
	switch {
	case errors.Is(err, control.ErrRemoved) || err != nil && ctx.Err() != nil:
		return outlook, err
	case err != nil:
		fmt.Fprintf(g.err, "how the endpoints do is not known: %s\n", printable(err.Error()))
	}
	for i, w := range outlook.Waiting {
		if i == maxNotes {
			fmt.Fprintf(g.err, "… and for %s more\n", counted(len(outlook.Waiting)-i, "endpoint"))
			break
		}
		fmt.Fprintln(g.err, printable(w.String()))
	}
	return outlook, nil
}
