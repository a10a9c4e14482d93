package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fanjet/internal/broker"
)

// defaultConfig is the configuration file that is read unless another is named.
const defaultConfig = "fanjet.yaml"

// globals are the flags that every command has.
type globals struct {
	streams
	config    string // path of the configuration file
	nats      string // URL that takes the place of nats.url; empty: the configuration's
	dataDir   string // what a relative store_dir is relative to; empty: its file
	logLevel  string
	logFormat string // json, console, or auto: console on a terminal, else json

	refusals broker.Refusals // of the connection to NATS
	// stop ends the command, with the reason; nil: it is in nobody's hands.
	stop context.CancelCauseFunc
}

// addFlags adds the global flags to the root command.
func (g *globals) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", defaultConfig, "configuration `file`")
	flags.StringVar(&g.nats, "nats", "", "NATS `URL`, instead of the configuration's")
	flags.Var(newChoice(&g.logLevel, "info", "debug", "warn", "error"), "log-level", "what to log: debug, info, warn or error")
	flags.Var(newChoice(&g.logFormat, "auto", "json", "console"), "log-format", "json or console; auto means console on a terminal, else json")
	completeWords(root, "log-level", "info", "debug", "warn", "error")
	completeWords(root, "log-format", "auto", "json", "console")
}

// fromEnvironment sets the global flags that FANJET_… variables mirror:
// --log-level is FANJET_LOG_LEVEL. The command line wins over them.
func (g *globals) fromEnvironment(root *cobra.Command, lookup func(string) (string, bool)) error {
	for _, flag := range []string{"config", "nats", "log-level", "log-format"} {
		variable := "FANJET_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		value, ok := lookup(variable)
		if !ok || value == "" {
			continue
		}
		if err := root.PersistentFlags().Lookup(flag).Value.Set(value); err != nil {
			return usagef("environment variable %s: %q %w", variable, value, err)
		}
	}
	g.dataDir, _ = lookup(dataDirEnv)
	return nil
}

// dataDirEnv names the folder of what the gateway keeps where it may not write
// beside its configuration, as in the image. It is no flag: it says something about
// the place, for all commands.
const dataDirEnv = "FANJET_DATA_DIR"

// choice is a flag that takes one of a few words.
type choice struct {
	value   *string
	allowed []string
}

// newChoice returns a flag that sets value, now the first of the words.
func newChoice(value *string, words ...string) *choice {
	*value = words[0]
	return &choice{value, words}
}

// String implements pflag.Value.
func (c *choice) String() string { return *c.value }

// Type implements pflag.Value: what help shows in place of the value.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

// Set implements pflag.Value.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("must be one of %s", strings.Join(c.allowed, ", "))
	}
	*c.value = text
	return nil
}
