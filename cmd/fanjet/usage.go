package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		return withHint(cmd, wrongValue(err))
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
		if err := cmp.Or(emptyFlag(cmd), check(cmd, args)); err != nil {
			return withHint(cmd, err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		beStrict(sub)
	}
}

// mayBeEmpty is the annotation of a flag whose value may be empty text.
const mayBeEmpty = "fanjet_may_be_empty"

// allowEmpty lets flags of a command have an empty value: it says something, or
// changes nothing that is done.
func allowEmpty(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		// It fails only when there is no such flag.
		_ = cmd.Flags().SetAnnotation(name, mayBeEmpty, []string{"true"})
	}
}

// emptyFlag refuses a flag that was given without a value, such as --endpoint
// "$NAME" where that variable is not set. A filter that is empty would select
// everything, and an address that is empty another server.
func emptyFlag(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && isEmpty(f) && f.Annotations[mayBeEmpty] == nil {
			err = givenEmpty(f)
		}
	})
	return err
}

func givenEmpty(f *pflag.Flag) error {
	return fmt.Errorf("--%s is given, but empty; is a variable of the shell not set? Without a value, leave the flag out", f.Name)
}

// wrongValue says in plain words what is wrong with the value of a flag that does not
// parse: what Go says of it is for programmers.
func wrongValue(err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag, value := wrong.GetFlag(), wrong.GetValue()
	wants := map[string]string{
		"int": "a whole number", "uint64": "a whole number from 0", "float64": "a number",
		"bool": "true or false", "duration": "a duration such as 30s or 2m",
	}[flag.Value.Type()]
	switch {
	case strings.TrimSpace(value) == "":
		return givenEmpty(flag)
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("--%s: %s is too large, or too small", flag.Name, value)
	case wants != "":
		return fmt.Errorf("--%s: %q is not %s", flag.Name, value, wants)
	}
	return err
}

// isEmpty reports whether a flag, or a part of its list, is nothing but blanks.
func isEmpty(f *pflag.Flag) bool {
	blank := func(text string) bool { return strings.TrimSpace(text) == "" }
	if list, ok := f.Value.(pflag.SliceValue); ok {
		values := list.GetSlice()
		return len(values) == 0 || slices.ContainsFunc(values, blank)
	}
	return blank(f.Value.String())
}

// selectOnce refuses the flags of a command, which say what it is about, when they
// are given twice: pflag would take the last one, and --endpoint a --endpoint b be
// about b only.
func selectOnce(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		f := cmd.Flags().Lookup(name)
		f.Value = &onceValue{Value: f.Value}
	}
}

// onceValue is the value of a flag that can be set once.
type onceValue struct {
	pflag.Value
	set bool
}

// Set implements [pflag.Value].
func (v *onceValue) Set(text string) error {
	if v.set {
		return errors.New("it is given twice, and only one value counts; run the command once for each")
	}
	v.set = true
	return v.Value.Set(text)
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
