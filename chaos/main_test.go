package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// programs are those of the folder that FANJET_TEST_PROGRAMS names. Without it they
// are built when a test first asks for them, as the Makefile does.
type programs struct {
	dir string

	fanjet, natsServer func() (string, error)
}

// built is set by TestMain.
var built programs

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fanjet-chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	built = programs{
		dir:        dir,
		fanjet:     build(dir, "fanjet", "-tags", "failpoint", "fanjet/cmd/fanjet"),
		natsServer: build(dir, "nats-server", "github.com/nats-io/nats-server/v2"),
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// build returns a function that builds a program once and returns its path.
func build(dir, name string, args ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if ready := os.Getenv("FANJET_TEST_PROGRAMS"); ready != "" {
			path := filepath.Join(ready, name)
			_, err := os.Stat(path) // also tells go test that its result is for this one
			return path, err
		}
		path := filepath.Join(dir, name)
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", path}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
		return path, nil
	})
}
