package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fanjet/dlq"
	"fanjet/internal/audit"
	"fanjet/internal/control"
)

// confirm asks a question. Without a terminal to ask on it is a usage error:
// waiting for an answer would hang a script.
func (g *globals) confirm(ctx context.Context, question string) error {
	if !isTerminal(g.in) || !isTerminal(g.err) {
		return usagef("%s There is no terminal to ask on; --yes answers", question)
	}
	yes, err := ask(ctx, g.in, g.err, question)
	if err != nil {
		return err
	}
	if !yes {
		return errors.New("nothing was done")
	}
	return nil
}

// ask asks a question and waits for the answer, or for the end of ctx.
func ask(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // the end of the input is a no
		answer <- line
	}()
	select {
	case line := <-answer:
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes", nil
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, ctx.Err()
	}
}

// checkRate refuses a rate that is none.
func checkRate(rate float64) error {
	if !(rate >= 0) || math.IsInf(rate, 0) {
		return usagef("--rate %v: must not be negative", rate)
	}
	return nil
}

// maxNamed bounds how many endpoints a question names.
const maxNamed = 5

// selected names letters: which ones, and whose.
func selected(f dlq.Filter, counts dlq.Counts) string {
	text := counted(counts.Total(), "letter")
	switch {
	case f.Limit > 0:
		text = "the oldest " + text
	case f.Every() || f.IsEndpoint():
		text = "all " + text
	}
	if f.Endpoint != "" {
		text += " of " + f.Endpoint
	} else {
		text += " of every endpoint"
	}
	var which []string
	filters := control.FilterText(f)
	for _, name := range []string{"reason", "subject", "since", "until", "id"} {
		if value, ok := filters[name]; ok {
			which = append(which, name+" "+value)
		}
	}
	if len(which) > 0 {
		text += " with " + strings.Join(which, ", ")
	}
	if f.Endpoint == "" {
		text += " (" + breakdown(counts) + ")"
	}
	return text
}

// breakdown says how many letters are whose, those with the most first.
func breakdown(counts dlq.Counts) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for i, name := range names {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %s more", counted(len(names)-i, "endpoint")))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %d", printable(name), counts[name]))
	}
	return strings.Join(parts, ", ")
}

// endOperation reports how a replay, a purge or a drain ended; did says what it did to
// letters. err is what stopped it.
func (g *globals) endOperation(did string, r control.LettersReport, out *output, err error) error {
	if out.json() {
		if err := writeJSON(g.out, &r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(g.out, "%s %s\n", did, counted(r.Done, "letter"))
		if r.Skipped > 0 {
			fmt.Fprintf(g.err, "%s gone already: another replay, purge or drain was faster\n", counted(r.Skipped, "letter"))
		}
		if r.Failed > 0 {
			fmt.Fprintf(g.err, "%s left in the queue, because of errors:\n", counted(r.Failed, "letter"))
			g.printFailures(r.Outcome)
		}
	}
	unrecorded := g.unrecorded(r.AuditError)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(g.err, "Run the same command again to go on.")
		}
		return err
	}
	if r.Failed > 0 {
		return errSilent
	}
	return unrecorded
}

// actFlags are the flags of acts on many letters.
type actFlags struct {
	by         *audit.Actor
	note       string
	unrecorded bool
}

func addActFlags(cmd *cobra.Command) *actFlags {
	f := &actFlags{by: addBy(cmd)}
	cmd.Flags().StringVar(&f.note, "note", "", "why you do it, for those who read the audit")
	allowEmpty(cmd, "note")
	cmd.Flags().BoolVar(&f.unrecorded, "unrecorded", false, "go on although the audit record of it cannot be stored")
	return f
}

// act is what the flags say about an act on so many letters.
func (f *actFlags) act(selected int) control.Act {
	return control.Act{By: *f.by, Reason: f.note, Selected: selected, Unrecorded: f.unrecorded}
}

func (g *globals) printFailures(outcome dlq.Outcome) {
	for _, f := range outcome.Failures {
		fmt.Fprintf(g.err, "  %d (%s): %s\n", f.Seq, printable(f.Endpoint), printable(f.Err.Error()))
	}
	if more := outcome.Failed - len(outcome.Failures); more > 0 {
		fmt.Fprintf(g.err, "  … and %d more\n", more)
	}
}
