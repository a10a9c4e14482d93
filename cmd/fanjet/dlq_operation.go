package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"fanjet/dlq"
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

// operationReport is what replay and purge print with -o json.
type operationReport struct {
	Done     int                `json:"done"`
	Skipped  int                `json:"skipped"`
	Failed   int                `json:"failed"`
	Failures []operationFailure `json:"failures"` // the first 100
	DryRun   bool               `json:"dry_run"`
	Error    string             `json:"error,omitempty"` // what stopped it
}

type operationFailure struct {
	Seq      uint64 `json:"seq"`
	Endpoint string `json:"endpoint"`
	Error    string `json:"error"`
}

// endOperation reports how a replay or a purge ended; did says what it did to
// letters. err is what stopped it.
func (g *globals) endOperation(did string, outcome dlq.Outcome, out *output, err error) error {
	if out.json() {
		report := operationReport{
			Done: outcome.Done, Skipped: outcome.Skipped, Failed: outcome.Failed,
			Failures: []operationFailure{},
			DryRun:   strings.HasPrefix(did, "would "),
		}
		for _, f := range outcome.Failures {
			report.Failures = append(report.Failures, operationFailure{f.Seq, f.Endpoint, f.Err.Error()})
		}
		if err != nil {
			report.Error = err.Error()
		}
		if err := writeJSON(g.out, report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(g.out, "%s %s\n", did, counted(outcome.Done, "letter"))
		if outcome.Skipped > 0 {
			fmt.Fprintf(g.err, "%s gone already: another replay or purge was faster\n", counted(outcome.Skipped, "letter"))
		}
		if outcome.Failed > 0 {
			fmt.Fprintf(g.err, "%s left in the queue, because of errors:\n", counted(outcome.Failed, "letter"))
			g.printFailures(outcome)
		}
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintln(g.err, "Run the same command again to go on.")
		}
		return err
	}
	if outcome.Failed > 0 {
		return errSilent
	}
	return nil
}

func (g *globals) printFailures(outcome dlq.Outcome) {
	for _, f := range outcome.Failures {
		fmt.Fprintf(g.err, "  %d (%s): %s\n", f.Seq, printable(f.Endpoint), printable(f.Err.Error()))
	}
	if more := outcome.Failed - len(outcome.Failures); more > 0 {
		fmt.Fprintf(g.err, "  … and %d more\n", more)
	}
}
