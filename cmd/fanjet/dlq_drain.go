package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/dlq"
	"fanjet/internal/control"
)

func newDLQDrainCommand(g *globals) *cobra.Command {
	var path string
	var options dlq.DrainOptions
	var yes bool
	cmd := &cobra.Command{
		Use:   "drain --out FILE",
		Short: "Move letters to a file",
		Long: `Move letters to a file, oldest first: JSON Lines, as export writes them. Exactly the
letters that are in the file, and on the disk, leave the queue. Letters that arrive
meanwhile stay, and so does a letter whose body cannot be found. It takes a filter, or
--all. On a terminal it asks first.

It can be interrupted or killed, and run again with the same file: nothing is lost, and
no letter is in the file twice. A file that has letters is gone on with; one that has
anything else is refused.`,
		Example: `  fanjet dlq drain --endpoint old-crm --out old-crm.jsonl
  fanjet dlq drain --until 30d --out /backup/letters.jsonl --yes
  fanjet dlq drain --all --out letters.jsonl --dry-run`,
	}
	flags := g.addDLQSelection(cmd)
	cmd.Flags().StringVar(&path, "out", "", "`FILE` that they are moved to; required")
	selectOnce(cmd, "out")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "only show how many would be drained")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	act := addActFlags(cmd)
	out := addOutputFlag(cmd)
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch path {
		case "":
			return errors.New("takes --out FILE")
		case "-":
			return errors.New("--out -: what goes to the standard output may be lost; name a file, or use export")
		}
		return check(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
			counts, err := queue.Freeze(ctx, &filter) // what arrives during the question stays
			if err != nil {
				return err
			}
			n := counts.Total()
			switch {
			case options.DryRun:
				report, err := queue.Drain(ctx, act.act(n), filter, nil, options)
				return g.endOperation("would drain", report, out, err)
			case n == 0:
				return g.endOperation("drained", control.NothingSelected(), out, nil)
			}
			file, err := dlq.OpenDrainFile(path)
			if err != nil {
				return err
			}
			// Without a terminal nothing is asked: the file keeps what leaves the queue.
			if !yes && isTerminal(g.in) && isTerminal(g.err) {
				err = g.confirm(ctx, fmt.Sprintf("Move %s to %s?", selected(filter, counts), printable(path)))
			}
			if err != nil {
				return errors.Join(err, file.Close())
			}
			show := g.newProgress("drained", n)
			options.Progress = show.update
			report, err := queue.Drain(ctx, act.act(n), filter, file, options)
			show.end()
			return g.endOperation("drained", report, out, errors.Join(err, file.Close()))
		})
	}
	return cmd
}
