// Command vulnsummary reads what `govulncheck -format json` says and shows a
// line for each known vulnerability that the program calls.
//
// It ends with 1 when one of them is in a module that go.mod names. One in the
// standard library is shown with the version of Go that mends it, and is no
// failure of the project: the toolchain is the choice of who builds it.
package main

import (
	"fmt"
	"os"
)

func main() {
	r, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintf(os.Stderr, "vulnsummary: %v\n", err)
		os.Exit(1)
	}
	r.print(os.Stdout)
	if r.failed() {
		os.Exit(1)
	}
}
