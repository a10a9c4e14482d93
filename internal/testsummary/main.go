// Command testsummary reads the events of `go test -json` and shows them as
// `go test` would: a line for each package, and everything that a failed test
// said. Its last line is a count, alone: "N passed, N failed", with
// ", N skipped" when any was. It ends with 1 when something failed, or when no
// test ran at all.
package main

import (
	"fmt"
	"os"
)

func main() {
	s, err := summarize(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "testsummary: %v\n", err)
		os.Exit(1)
	}
	if !s.ok() {
		os.Exit(1)
	}
}
