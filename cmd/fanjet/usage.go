package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is an error of the command line itself: it ends with exitUsage.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// beStrict makes every mistake in the arguments of cmd and of all commands
// below it a usage error. A command takes no arguments unless it says which; one
// that only groups others shows its help when it is called without any.
func beStrict(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(cmd, err)
	})
	check := cmd.Args
	switch {
	case cmd.HasSubCommands() && !cmd.Runnable():
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		check = noSuchCommand
	case check == nil:
		check = noArguments
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return withHint(cmd, err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		beStrict(sub)
	}
}

func withHint(cmd *cobra.Command, err error) error {
	return usagef("%w\nSee `%s --help`.", err, cmd.CommandPath())
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// noSuchCommand refuses arguments of a command that groups others: they would
// have been found if they were one of those.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	suggestions := cmd.SuggestionsFor(args[0])
	if len(suggestions) == 0 {
		return fmt.Errorf("unknown command %q", args[0])
	}
	return fmt.Errorf("unknown command %q; did you mean %s?", args[0], strings.Join(suggestions, " or "))
}

// newHelpCommand replaces cobra's own, which ends with success when there is no
// such command.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show what a command does",
		Example: "  fanjet help publish",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("unknown command %q", strings.Join(args, " "))
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}
