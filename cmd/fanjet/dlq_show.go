package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"fanjet/dlq"
)

func newDLQShowCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show SEQ",
		Short: "Show one letter with the event's headers and body",
		Long: `Show the letter with the sequence SEQ, which list prints first, with the event's
own headers and its body. With -o json the body is base64, byte for byte.`,
		Example: `  fanjet dlq show 17
  fanjet dlq show 17 -o json | jq -r .data | base64 -d > body`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("takes the sequence of one letter, not %d arguments", len(args))
			}
			return nil
		},
	}
	out := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seq, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || seq == 0 {
			return usagef("%q is not the sequence of a letter; `fanjet dlq list` shows them", args[0])
		}
		return g.showLetter(cmd.Context(), seq, out)
	}
	return cmd
}

func (g *globals) showLetter(ctx context.Context, seq uint64, out *output) error {
	queue, err := g.openDLQ(ctx)
	if err != nil {
		return err
	}
	defer queue.close()
	letter, err := queue.Get(ctx, seq)
	if err != nil {
		return err
	}
	missing := queue.Resolve(ctx, &letter)
	if missing != nil {
		letter.Headers, letter.Data = nil, nil
	}
	if out.json() {
		if err := writeJSON(g.out, &letter); err != nil {
			return err
		}
	} else if err := g.printLetter(&letter); err != nil {
		return err
	}
	if missing != nil {
		return fmt.Errorf("the letter has no body of its own, and %w", missing)
	}
	return nil
}

func (g *globals) printLetter(l *dlq.Letter) error {
	table := newTable(g.out)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, printable(value))
		}
	}
	row("letter", strconv.FormatUint(l.Seq, 10))
	row("problem", l.Problem)
	row("endpoint", l.Endpoint)
	row("reason", string(l.Reason))
	row("dead-lettered", shortTime(l.DeadLettered))
	row("webhook-id", l.EventID)
	row("subject", l.Subject)
	row("source", l.Source)
	if !l.Accepted.IsZero() {
		row("accepted", shortTime(l.Accepted))
	}
	row("attempts", strconv.Itoa(l.Attempts))
	if l.Generation > 0 {
		row("replayed before", counted(l.Generation, "time"))
	}
	if !l.FirstAttempt.IsZero() {
		row("first attempt", shortTime(l.FirstAttempt))
	}
	if !l.LastAttempt.IsZero() {
		row("last attempt", shortTime(l.LastAttempt))
	}
	if l.LastStatus != 0 {
		row("last status", strconv.Itoa(l.LastStatus))
	}
	row("last error", l.LastError)
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		for _, value := range l.Headers[name] {
			row("header", name+": "+value)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(g.out, "\n%s\n", bodyText(l.Data))
	return err
}

// bodyText shows a body to a person: JSON indented, other text as it is, but
// without what would steer a terminal.
func bodyText(body []byte) string {
	if len(body) == 0 {
		return "(no body)"
	}
	if !utf8.Valid(body) {
		return fmt.Sprintf("(%d bytes that are not text; -o json has them as base64)", len(body))
	}
	if pretty, err := json.MarshalIndent(json.RawMessage(body), "", "  "); err == nil {
		body = pretty
	}
	lines := strings.Split(string(body), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    "))
	}
	return strings.Join(lines, "\n")
}
