package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// childMode is the first argument of a process that this program starts. The
// second says what it is, the third is its job as JSON. It prints a line when
// it is at work, works until its standard input ends, and prints another line.
// So it never outlives the program that started it.
const childMode = "child"

// job is what a child is told.
type job struct {
	Dir      string `json:"dir,omitempty"`       // where the streams are
	Tier     string `json:"tier,omitempty"`      // durability
	NATS     string `json:"nats,omitempty"`      // URL of a server; empty: a server in the child
	Sink     string `json:"sink,omitempty"`      // URL of the receiver
	InFlight int    `json:"in_flight,omitempty"` // of the bare loop
	Config   string `json:"config,omitempty"`    // file of the gateway
	Profile  string `json:"profile,omitempty"`   // where to write a CPU profile
	Events   int    `json:"events,omitempty"`    // to publish
	Subjects int    `json:"subjects,omitempty"`
	Size     int    `json:"size,omitempty"`
	Times    bool   `json:"times,omitempty"` // the receiver keeps the time of each arrival

	Answer time.Duration `json:"answer,omitempty"` // how long the receiver takes for a healthy endpoint
	Loops  int           `json:"loops,omitempty"`  // that are busy
	Limit  time.Duration `json:"limit,omitempty"`  // after which they end
}

// hello is the first line of a child.
type hello struct {
	URL     string        `json:"url,omitempty"`      // of the receiver, or of the NATS server
	Admin   string        `json:"admin,omitempty"`    // host:port of the gateway's admin listener
	Began   int64         `json:"began"`              // when the work began, Unix time in ns
	Loading time.Duration `json:"loading,omitempty"`  // reading and checking the configuration
	LoadCPU float64       `json:"load_cpu,omitempty"` // CPU seconds of that
	Start   time.Duration `json:"start,omitempty"`    // from there until the gateway takes events
}

// goodbye is the last line of a child.
type goodbye struct {
	CPU float64 `json:"cpu"` // seconds since the work began
}

// work is what a child does between its two lines.
type work struct {
	hello hello
	// stop ends the work; what it returns fails the measurement.
	stop func() error
}

func runChild(args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	// An interrupt of the terminal reaches the whole group; the parent stops us.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	var j job
	if err := json.Unmarshal([]byte(args[1]), &j); err != nil {
		return err
	}
	kinds := map[string]func(job) (work, error){
		"sink": startSink, "preload": startPreload, "server": startServer, "bare": startBare, "gateway": startGateway,
		"busy": startBusy,
	}
	start := kinds[args[0]]
	if start == nil {
		return fmt.Errorf("there is no child %q", args[0])
	}
	w, err := start(j)
	if err != nil {
		return err
	}
	if w.hello.Began == 0 {
		w.hello.Began = time.Now().UnixNano()
	}
	cpu := cpuSeconds()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(w.hello); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	cpu = cpuSeconds() - cpu
	if err := w.stop(); err != nil {
		return err
	}
	return out.Encode(goodbye{CPU: cpu})
}

// child is such a process, seen from the program that started it.
type child struct {
	kind  string
	hello hello
	pid   int
	cmd   *exec.Cmd
	in    io.Closer
	out   *bufio.Reader
	ended bool
}

// spawn starts a child of this program and waits until it is at work. When ctx
// ends, it is killed.
func spawn(ctx context.Context, kind string, j job) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return spawnOf(ctx, self, kind, j)
}

// spawnOf does that with the bench program of any build.
func spawnOf(ctx context.Context, program, kind string, j job) (*child, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, childMode, kind, string(text)) //nolint:gosec // this program, or the one that was asked for
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), benchSecretName+"="+benchSecret)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{kind: kind, pid: cmd.Process.Pid, cmd: cmd, in: in, out: bufio.NewReader(out)}
	if err := c.read(&c.hello); err != nil {
		_, _ = c.stop()
		return nil, fmt.Errorf("the %s did not start: %w", kind, errors.Join(context.Cause(ctx), err))
	}
	return c, nil
}

func (c *child) read(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// stop ends the work and waits for the process. A second call does nothing.
func (c *child) stop() (goodbye, error) {
	if c.ended {
		return goodbye{}, nil
	}
	c.ended = true
	_ = c.in.Close()
	var g goodbye
	err := c.read(&g)
	if waited := c.cmd.Wait(); waited != nil {
		err = waited
	}
	if err != nil {
		return g, fmt.Errorf("the %s failed: %w", c.kind, err)
	}
	return g, nil
}

// kill ends the process with SIGKILL, if it still runs, and waits for its end.
func (c *child) kill() {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // its end is no news
}
