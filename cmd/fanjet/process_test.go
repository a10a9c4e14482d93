package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startTimeout is how long a process may take to say that it runs. It is long:
// only a broken one needs it.
const startTimeout = time.Minute

// process is a fanjet that runs beside a script.
type process struct {
	cmd      *exec.Cmd
	out, err *watched
	done     chan struct{} // closed when it has ended
}

// cmdSpawn starts fanjet beside the script, and goes on when it says that it
// runs:
//
//	spawn NAME VAR REGEXP [ARGUMENT...]
//
// It has said so when its output matches REGEXP; VAR becomes the first group of
// the match. With - for the expression it goes on at once. Use interrupt NAME or
// hangup NAME to end it; otherwise the end of the script does.
func cmdSpawn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: spawn NAME VAR REGEXP [ARGUMENT...]")
	}
	pattern, err := regexp.Compile(args[2])
	ts.Check(err)
	ready := make(chan string, 2)
	p := &process{
		cmd:  exec.Command(filepath.Join(ts.Value(programsKey).(string), "fanjet"), args[3:]...),
		out:  &watched{pattern: pattern, ready: ready},
		err:  &watched{pattern: pattern, ready: ready},
		done: make(chan struct{}),
	}
	p.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "GORACE",
		"FANJET_CONFIG", "FANJET_NATS", "FANJET_LOG_LEVEL", "FANJET_LOG_FORMAT", listenSecretEnv,
	} {
		p.cmd.Env = append(p.cmd.Env, name+"="+ts.Getenv(name))
	}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	ts.Check(p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState tells
	}()
	ts.Defer(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
	})
	ts.Value(processesKey).(map[string]*process)[args[0]] = p
	if args[2] == "-" {
		return
	}
	select {
	case value := <-ready:
		ts.Setenv(args[1], value)
	case <-p.done:
		ts.Fatalf("%s ended: %v\n%s%s", args[0], p.cmd.ProcessState, p.out, p.err)
	case <-time.After(startTimeout):
		ts.Fatalf("%s does not say that it runs:\n%s%s", args[0], p.out, p.err)
	}
}

// cmdInterrupt sends SIGINT to what spawn started, and waits for its
// end. Its output is then that of this command.
//
//	[!] interrupt NAME
func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	endProcess(ts, neg, args, os.Interrupt)
}

// cmdHangup is [cmdInterrupt] with SIGHUP, as when a terminal is closed.
//
//	[!] hangup NAME
func cmdHangup(ts *testscript.TestScript, neg bool, args []string) {
	endProcess(ts, neg, args, syscall.SIGHUP)
}

func endProcess(ts *testscript.TestScript, neg bool, args []string, signal os.Signal) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] interrupt|hangup NAME")
	}
	p := ts.Value(processesKey).(map[string]*process)[args[0]]
	if p == nil {
		ts.Fatalf("there is no process %q", args[0])
	}
	ts.Check(p.cmd.Process.Signal(signal))
	select {
	case <-p.done:
	case <-time.After(startTimeout):
		ts.Fatalf("%s does not end:\n%s%s", args[0], p.out, p.err)
	}
	fmt.Fprint(ts.Stdout(), p.out)
	fmt.Fprint(ts.Stderr(), p.err)
	if p.cmd.ProcessState.Success() == neg {
		ts.Fatalf("%s ended: %v", args[0], p.cmd.ProcessState)
	}
}

// watched collects output and tells when it matches.
type watched struct {
	pattern *regexp.Regexp
	ready   chan<- string // gets the first group, once

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	if match := w.pattern.FindSubmatch(w.text.Bytes()); match != nil && !w.told {
		w.told = true
		w.ready <- string(match[len(match)-1])
	}
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
