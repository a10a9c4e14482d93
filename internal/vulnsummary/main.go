// Command vulnsummary reads what `govulncheck -format json` says and shows a
// line for each known vulnerability that the program calls.
//
// The text that govulncheck prints itself would do but for its exit status, 3 for
// either kind: the check of code that nobody changed would fail from the day that
// Go announces a fault of its standard library, where the toolchain is older than
// that day, and nothing in the code could mend it. Its formats for machines end
// with 0 whatever they found. And where the toolchain is older it prints a line for
// each way that leads to a fault, hundreds of them for one of net/http.
//
// The command ends with 1 when one of them is in a module that go.mod names. One in the
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
