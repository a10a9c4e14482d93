package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"fanjet/config"
	"fanjet/internal/broker"
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

// errSilent ends with exitFailure; the command has said why.
var errSilent = errors.New("failed")

// run runs the command line args and returns the exit code.
func run(ctx context.Context, args []string, std streams) (code int) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	g := &globals{streams: std, stop: stop}
	defer func() {
		if fault := recover(); fault != nil {
			code = g.confess(fault)
		}
	}()
	ctx, end := context.WithCancel(ctx)
	defer end()
	cmd := newRootCommand(g)
	endOnHangup(cmd, end)
	err := g.fromEnvironment(cmd, os.LookupEnv)
	if err == nil {
		cmd.SetArgs(args)
		err = cmd.ExecuteContext(ctx)
	}
	return g.report(ctx, err)
}

// report says what went wrong, if anything, and returns the exit code.
func (g *globals) report(ctx context.Context, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case broker.Refusal(ctx) != nil:
		refused := broker.Refusal(ctx).Error()
		told := strings.Count(err.Error(), refused)
		if told > 1 { // several questions at once ended by it
			told, err = 0, errSilent
		}
		if told > 0 || !errors.Is(err, context.Canceled) && !errors.Is(err, errSilent) {
			fmt.Fprintf(g.err, "fanjet: %v\n", err)
		}
		if told == 0 {
			fmt.Fprintf(g.err, "fanjet: %s\n", refused)
		}
		return exitFailure
	case errors.Is(err, errSilent):
		return exitFailure
	case errors.As(err, &usage):
		fmt.Fprintf(g.err, "fanjet: %v\n", err)
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(g.err, "fanjet: interrupted")
		return exitFailure
	case isProblems(err):
		fmt.Fprintln(g.err, err) // each line begins with its file and place
		return exitFailure
	default:
		fmt.Fprintf(g.err, "fanjet: %v\n", err)
		return exitFailure
	}
}

func isProblems(err error) bool {
	_, ok := errors.AsType[*config.Errors](err)
	return ok
}

// confess tells of a bug. A stack trace helps nobody but us: only those who ask
// for debug logs see it.
func (g *globals) confess(fault any) int {
	fmt.Fprintf(g.err, "fanjet: internal error: %v\nThis is a bug. Please report it with what `fanjet version` prints.\n", fault)
	if g.logLevel == "debug" {
		fmt.Fprintf(g.err, "%s", debug.Stack())
	}
	return exitFailure
}

func newRootCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fanjet",
		Short: "Fan NATS JetStream events out to webhooks",
		Long: `Fanjet fans events out. Producers publish them to NATS JetStream; Fanjet
matches each event to the endpoints that subscribed, and POSTs it to each as a
signed webhook, with retries, and a dead-letter queue for what cannot be
delivered.

The global flags can also be set by environment variables: FANJET_CONFIG,
FANJET_NATS, FANJET_LOG_LEVEL, FANJET_LOG_FORMAT. FANJET_DATA_DIR names the
folder that a relative store_dir is in, instead of that of its file. Commands end
with 0 on success, 1 on failure and 2 when they were called wrongly.`,
		Example: `  fanjet demo              see all of it in one process
  fanjet init              write a first fanjet.yaml
  fanjet serve             run the gateway`,
		Version:           currentBuild().Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	cmd.SetIn(g.in)
	cmd.SetOut(g.out)
	cmd.SetErr(g.err)
	g.addFlags(cmd)

	cmd.AddCommand(
		newDemoCommand(g),
		newServeCommand(g),
		newInitCommand(g),
		newCheckCommand(g),
		newMatchCommand(g),
		newPublishCommand(g),
		newListenCommand(g),
		newEndpointsCommand(g),
		newEventsCommand(g),
		newDLQCommand(g),
		newAuditCommand(g),
		newDoctorCommand(g),
		newReadyCommand(g),
		newSecretCommand(g),
		newCompletionCommand(g),
		newVersionCommand(g),
	)
	cmd.SetHelpCommand(newHelpCommand())
	beStrict(cmd)
	return cmd
}
