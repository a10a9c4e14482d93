package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fanjet/dlq"
)

// listBlock is how many lines of a list are aligned together. The list of a
// million letters must begin before its end is known.
const listBlock = 500

func newDLQStatsCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count the letters of each endpoint, by reason",
		Long: `Count the letters of each endpoint, by reason, with the size of their bodies and
the times of the oldest and the newest. It reads every letter.`,
		Example: `  fanjet dlq stats
  fanjet dlq stats --since 24h -o json`,
	}
	flags := g.addDLQFilter(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
			stats, err := queue.Stats(ctx, filter)
			if err != nil {
				return err
			}
			if out.json() {
				return writeJSON(g.out, stats)
			}
			return g.printStats(stats)
		})
	}
	return cmd
}

func (g *globals) printStats(stats []dlq.Stat) error {
	if len(stats) == 0 {
		fmt.Fprintln(g.err, "no dead letters")
		return nil
	}
	table := newTable(g.out)
	fmt.Fprintln(table, "ENDPOINT\tREASON\tLETTERS\tBYTES\tOLDEST\tNEWEST")
	total := 0
	for _, s := range stats {
		total += s.Letters
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\n", s.Endpoint, printable(string(s.Reason)), s.Letters, s.Bytes, shortTime(s.Oldest), shortTime(s.Newest))
	}
	fmt.Fprintf(table, "total\t\t%d\n", total)
	return table.Flush()
}

func newDLQListCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List letters, oldest first",
		Long: `List letters, oldest first, without their headers and bodies: see show and export
for those. Letters that arrive meanwhile are left out.`,
		Example: `  fanjet dlq list --endpoint billing --reason exhausted --limit 20
  fanjet dlq list --subject 'events.orders.*.paid' --since 2026-03-01T00:00:00Z
  fanjet dlq list -o json | jq -r '.[].event_id'`,
	}
	flags := g.addDLQFilter(cmd)
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return g.withDLQ(cmd.Context(), flags, func(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
			if out.json() {
				return g.listJSON(ctx, queue, filter)
			}
			return g.listTable(ctx, queue, filter)
		})
	}
	return cmd
}

// listJSON prints an array, one letter a line.
func (g *globals) listJSON(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
	before := "["
	for l, err := range queue.List(ctx, filter) {
		if err != nil {
			return err
		}
		l.Headers, l.Data = nil, nil
		text, err := json.Marshal(&l)
		if err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		if _, err := fmt.Fprintf(g.out, "%s\n%s", before, text); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		before = ","
	}
	end := "\n]\n"
	if before == "[" {
		end = "[]\n"
	}
	_, err := fmt.Fprint(g.out, end)
	return err
}

func (g *globals) listTable(ctx context.Context, queue *dlqClient, filter dlq.Filter) error {
	table := newTable(g.out)
	n := 0
	for l, err := range queue.List(ctx, filter) {
		if err != nil {
			return errors.Join(err, table.Flush())
		}
		if n%listBlock == 0 {
			if err := table.Flush(); err != nil {
				return err
			}
			if n == 0 {
				fmt.Fprintln(table, "SEQ\tDEAD-LETTERED\tENDPOINT\tREASON\tATTEMPTS\tSTATUS\tSUBJECT\tWEBHOOK-ID\tLAST ERROR")
			}
		}
		n++
		status := "-"
		if l.LastStatus != 0 {
			status = strconv.Itoa(l.LastStatus)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", l.Seq, shortTime(l.DeadLettered), printable(l.Endpoint),
			cmp.Or(printable(string(l.Reason)), "-"), l.Attempts, status, printable(l.Subject), printable(l.EventID),
			printable(cmp.Or(l.Problem, l.LastError)))
	}
	if n == 0 {
		fmt.Fprintln(g.err, "no dead letters")
	}
	return table.Flush()
}

func shortTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
