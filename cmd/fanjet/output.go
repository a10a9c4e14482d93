package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// output is how a command that reads shows what it found.
type output struct{ format string }

// addOutputFlag adds -o to a command that reads.
func addOutputFlag(cmd *cobra.Command) *output {
	return addOutputWords(cmd, "table for people, json for programs", "table", "json")
}

// addOutputWords is [addOutputFlag] for a command with words of its own, the first of
// which is the default.
func addOutputWords(cmd *cobra.Command, usage string, words ...string) *output {
	o := &output{}
	cmd.Flags().VarP(newChoice(&o.format, words...), "output", "o", usage)
	completeWords(cmd, "output", words...)
	return o
}

// json reports whether a program reads the output.
func (o *output) json() bool { return o.format == "json" }

// writeJSON writes one indented JSON document.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// newTable aligns columns that tabs separate. Flush it at the end.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printable replaces what would steer a terminal in text that anybody can have sent.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
