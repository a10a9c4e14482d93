package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEmptyFlags gives every flag of every command that takes text nothing but
// blanks, as a script does whose variable is not set. The command must end with
// 2 before it does anything: it would select everything, or another server.
func TestEmptyFlags(t *testing.T) {
	t.Parallel()
	allowed := map[string]bool{
		"fanjet publish --data":            true, // an event may be empty
		"fanjet match --data":              true,
		"fanjet match --expect":            true, // nobody is expected to get it
		"fanjet dlq replay --note":         true,
		"fanjet dlq purge --note":          true,
		"fanjet dlq drain --note":          true,
		"fanjet endpoints pause --reason":  true,
		"fanjet endpoints resume --reason": true,
		"fanjet events skip --reason":      true,
	}
	checked := 0
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.HasSubCommands() {
			return
		}
		path := strings.Fields(cmd.CommandPath())[1:]
		try := func(f *pflag.Flag) {
			name := cmd.CommandPath() + " --" + f.Name
			if f.Name == "help" || f.Name == "version" || f.Value.Type() == "bool" || allowed[name] {
				return
			}
			for _, value := range []string{"", " ", "\t"} {
				got := runFanjet(t, append(path, "--"+f.Name+"="+value)...)
				if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, "--"+f.Name) {
					t.Errorf("%s=%q ended with %d: %s%s", name, value, got.code, got.out, got.err)
				}
				checked++
			}
		}
		cmd.LocalFlags().VisitAll(try)
		cmd.InheritedFlags().VisitAll(try)
	}
	visit(newRootCommand(&globals{}))
	if checked < 300 {
		t.Errorf("only %d values were tried", checked)
	}
}

// A value that is wanted although it is empty is taken.
func TestFlagsThatMayBeEmpty(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"publish", "events.a", "--data", ""},
		{"dlq", "purge", "--endpoint", "a", "--note", ""},
		{"endpoints", "pause", "a", "--reason", ""},
	} {
		if err := parseCommandLine(t.Context(), args, func(string) (string, bool) { return "", false }); err != nil {
			t.Errorf("fanjet %q: %v", args, err)
		}
	}
}
