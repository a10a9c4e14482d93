package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// runFanjet runs a command line in this process, without a standard input.
func runFanjet(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs strings.Builder
	code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &errs})
	return result{code, out.String(), errs.String()}
}

func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short help must be a phrase without a full stop: %q", name, cmd.Short)
		}
		if !strings.Contains(cmd.Example, "fanjet") {
			t.Errorf("%s has no example", name)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len(line) > 100 {
				t.Errorf("%s: a line of the help is wider than 100 columns: %q", name, line)
			}
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRootCommand(&globals{}))
}

// panicReader is a standard input that meets a bug.
type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("unexpected situation") }

func TestABugShowsNoStackTrace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		level     string
		wantTrace bool
	}{
		{"info", false},
		{"debug", true},
	}
	for _, tt := range tests {
		t.Run(tt.level, func(t *testing.T) {
			t.Parallel()
			var errs strings.Builder
			args := []string{"publish", "events.a", "--data", "-", "--log-level", tt.level}
			code := run(t.Context(), args, streams{in: panicReader{}, out: &strings.Builder{}, err: &errs})
			if code != exitFailure {
				t.Errorf("exit code %d, want %d", code, exitFailure)
			}
			if !strings.Contains(errs.String(), "internal error: unexpected situation") {
				t.Errorf("the error is not told: %s", errs.String())
			}
			if got := strings.Contains(errs.String(), "goroutine "); got != tt.wantTrace {
				t.Errorf("stack trace: %v, want %v:\n%s", got, tt.wantTrace, errs.String())
			}
		})
	}
}

func TestUsageErrorUnwraps(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	if err := usagef("wrong: %w", cause); !errors.Is(err, cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
}
