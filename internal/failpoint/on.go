//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Variable is the environment variable that arms a point: "POINT" or "POINT:N".
const Variable = "FANJET_FAILPOINT"

// armed reads the environment once.
var armed = sync.OnceValue(func() *trap {
	name, count, counted := strings.Cut(os.Getenv(Variable), ":")
	t := &trap{point: Point(name)}
	t.left.Store(1)
	if counted {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "%s: %q is no count\n", Variable, count)
			os.Exit(2)
		}
		t.left.Store(n)
	}
	return t
})

// trap is the point at which the process dies.
type trap struct {
	point Point
	left  atomic.Int64 // hits until then
}

// Hit kills the process, if it is the hit that the environment asks for.
func Hit(p Point) {
	t := armed()
	if t.point != p || t.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more is done here while the signal is on its way
}
