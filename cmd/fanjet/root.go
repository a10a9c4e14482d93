package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// streams are the standard streams of the process: data goes to out,
// everything else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// globals are the flags that every command has.
type globals struct {
	streams
	config    string
	nats      string
	logLevel  string
	logFormat string
}

// usageError is an error of the command line itself: it ends with exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSilent ends with exitFailure; the command has said why.
var errSilent = errors.New("failed")

// run runs the command line args and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	cmd := newRootCommand(&globals{streams: std})
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailure
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "fanjet: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(std.err, "fanjet: %v\n", err)
		return exitFailure
	}
}

func newRootCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "fanjet",
		Short:         "Fan NATS JetStream events out to webhooks",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	return cmd
}
