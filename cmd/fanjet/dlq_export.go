package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fanjet/dlq"
)

func newDLQExportCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write letters with their bodies as JSON Lines",
		Long: `Write letters, oldest first, to the standard output: one JSON object a line, with
the fields of list, the event's headers, and its body as base64 in "data". The
letters stay in the queue.`,
		Example: `  fanjet dlq export --endpoint billing > billing.jsonl
  fanjet dlq export --since 2h | jq '.data | @base64d | fromjson'`,
	}
	flags := g.addDLQFilter(cmd)
	var format string
	cmd.Flags().VarP(newChoice(&format, "json"), "output", "o", "json: one letter a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
			w := bufio.NewWriter(g.out)
			outcome, err := queue.Export(ctx, filter, w)
			if err := cmp.Or(err, w.Flush()); err != nil {
				return err
			}
			fmt.Fprintf(g.err, "exported %s\n", counted(outcome.Done+outcome.Failed, "letter"))
			if outcome.Failed > 0 {
				fmt.Fprintf(g.err, "%s without body:\n", counted(outcome.Failed, "letter"))
				g.printFailures(outcome)
				return errSilent
			}
			return nil
		})
	}
	return cmd
}
