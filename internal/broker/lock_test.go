package broker

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"fanjet/internal/natstest"
)

// holdStore is the environment variable that turns this test program into a
// process that holds the lock of the store directory it names.
const holdStore = "FANJET_TEST_HOLD_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdStore); dir != "" {
		if _, err := lockStore(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("locked")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or the test is gone
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

func TestLockEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.Command(program)
	holder.Env = append(os.Environ(), holdStore+"="+dir)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}

	if _, err = lockStore(dir); err == nil {
		t.Fatal("two processes hold the lock")
	}
	if pid := strconv.Itoa(holder.Process.Pid); !strings.Contains(err.Error(), pid) {
		t.Errorf("error %q does not name process %s", err, pid)
	}

	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // says that it was killed
	lock, err := lockStore(dir)
	if err != nil {
		t.Fatalf("the lock outlived its process: %v", err)
	}
	lock.release()
}
