package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait. It is long: only what is broken needs it.
const patience = 90 * time.Second

// gateway is a `fanjet serve` in a process of its own. Its methods are called by
// one goroutine at a time, unless they say otherwise.
type gateway struct {
	w        *world
	name     string
	program  string // fanjet
	delivery string // the section of that name of its configuration; an older one has none
	config   string // path of its configuration
	log      tail

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	// kept is what explains repeats until the gateway is ready again.
	kept []int

	mu          sync.Mutex
	nats, admin string // URLs that the latest process reported
}

// newGateway writes the configuration of a gateway: yaml, and what all have in
// common. HOOK in it is the address of the receivers.
func (w *world) newGateway(name, nats, yaml string) *gateway {
	w.Helper()
	return w.newGatewayOf(w.program, "delivery: {direct: "+strconv.FormatBool(w.direct)+"}\n", name, nats, yaml)
}

// newGatewayOf is [world.newGateway] of some program.
func (w *world) newGatewayOf(program, delivery, name, nats, yaml string) *gateway {
	w.Helper()
	g := &gateway{w: w, name: name, program: program, delivery: delivery, config: filepath.Join(w.dir, name+".yaml")}
	g.configure(nats, yaml)
	w.Cleanup(func() {
		if w.Failed() {
			w.keep() // while it still can be asked for the dead letters
		}
		g.end(syscall.SIGKILL)
		if w.Failed() {
			w.Logf("the latest log of %s:\n%s", name, g.log.String())
		}
	})
	w.gateways = append(w.gateways, g)
	return g
}

// configure writes its configuration. nats is the section of that name.
func (g *gateway) configure(nats, yaml string) {
	g.w.Helper()
	text := "version: 1\nnats: " + nats + "\n" + g.delivery + "sources: [{stream: " + g.w.stream + `, subjects: ["events.>"], create: true}]
admin: {listen: "127.0.0.1:0"}
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
defaults: {secrets: ["` + secret + `"]}
` + strings.ReplaceAll(yaml, "HOOK", g.w.hooks.address())
	// In one piece: a running gateway reads it whenever it has changed.
	if err := os.WriteFile(g.config+".new", []byte(text), 0o600); err != nil {
		g.w.Fatal(err)
	}
	if err := os.Rename(g.config+".new", g.config); err != nil {
		g.w.Fatal(err)
	}
}

// start starts it with some environment variables, and waits until it is ready.
// It returns false if it died before.
func (g *gateway) start(env ...string) (ready bool) {
	g.w.Helper()
	started := g.launch(env...)
	select {
	case <-started:
	case <-g.done:
		return false
	case <-time.After(patience):
		g.w.Fatalf("%s is not ready in time", g.name)
	}
	g.healed()
	return true
}

// launch starts it, and returns a channel that is closed when it is ready.
func (g *gateway) launch(env ...string) (started <-chan struct{}) {
	g.w.Helper()
	level := "info"
	if g.w.logs != "" {
		level = "debug"
	}
	g.cmd = exec.Command(g.program, "serve", "--config", g.config, "--log-format", "json", "--log-level", level)
	g.cmd.Env = append(os.Environ(), env...)
	stderr, keep, err := g.output()
	if err != nil {
		g.w.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.w.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan struct{})
	g.done = done
	go func(cmd *exec.Cmd) {
		defer close(done)
		g.read(io.TeeReader(stderr, keep), ready)
		_ = keep.Close()
		_ = cmd.Wait() // ProcessState tells
	}(g.cmd)
	return ready
}

// output returns the log of the process to come, and where to keep all of it.
func (g *gateway) output() (io.Reader, io.WriteCloser, error) {
	path := os.DevNull
	if g.w.logs != "" {
		path = filepath.Join(g.w.logs, strings.ReplaceAll(g.w.Name(), "/", "-")+"-"+g.name+".log")
	}
	keep, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	stderr, err := g.cmd.StderrPipe()
	return stderr, keep, err
}

// read reads the log until the process has ended.
func (g *gateway) read(log io.Reader, started chan<- struct{}) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for ready := false; lines.Scan(); {
		g.log.add(lines.Bytes())
		if ready || !bytes.Contains(lines.Bytes(), []byte(`"ready"`)) {
			continue
		}
		var line struct{ Msg, NATS, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			g.mu.Lock()
			g.nats, g.admin = line.NATS, line.Admin
			g.mu.Unlock()
			ready = true
			close(started)
		}
	}
	_, _ = io.Copy(io.Discard, log)
}

// url is where its NATS server listened when it was last ready. It may be called
// by any goroutine.
func (g *gateway) url() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.nats
}

// readyz returns what it says about itself: empty if it is ready.
func (g *gateway) readyz() string {
	status, text, err := g.get("/readyz")
	switch {
	case err != nil:
		return err.Error()
	case status == http.StatusOK:
		return ""
	}
	return string(text)
}

// metric returns the value of a metric without labels; 0: there is none.
func (g *gateway) metric(name string) float64 {
	_, text, _ := g.get("/metrics")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return n
		}
	}
	return 0
}

// get asks its admin listener.
func (g *gateway) get(path string) (status int, body []byte, err error) {
	g.mu.Lock()
	admin := g.admin
	g.mu.Unlock()
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(admin + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// gone reports whether its process has ended.
func (g *gateway) gone() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// kill ends it as the loss of the machine would end the process.
func (g *gateway) kill() {
	g.w.Helper()
	g.fault("kill -9 "+g.name, killReach)
	g.end(syscall.SIGKILL)
}

// died waits until it has killed itself.
func (g *gateway) died() {
	g.w.Helper()
	g.await()
	if !bySIGKILL(g.cmd.ProcessState) {
		g.w.Fatalf("%s ended with %v, and not with SIGKILL", g.name, g.cmd.ProcessState)
	}
	g.fault("the death of "+g.name, killReach)
	g.cmd = nil
}

func bySIGKILL(state *os.ProcessState) bool {
	how, ok := state.Sys().(syscall.WaitStatus)
	return ok && how.Signal() == syscall.SIGKILL
}

// killed reports whether SIGKILL ended a command.
func killed(err error) bool {
	failed, ok := errors.AsType[*exec.ExitError](err)
	return ok && bySIGKILL(failed.ProcessState)
}

// terminate ends it in order.
func (g *gateway) terminate() {
	g.w.Helper()
	g.fault("SIGTERM "+g.name, 0)
	cmd := g.cmd
	g.end(syscall.SIGTERM)
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		g.w.Errorf("%s ended with: %v", g.name, cmd.ProcessState)
	}
}

// stopped stops it for a while: it neither works nor hears anything.
func (g *gateway) stopped(for_ time.Duration) {
	g.w.Helper()
	fault := g.w.fault("SIGSTOP "+g.name, 0)
	g.signal(syscall.SIGSTOP)
	g.w.pause(for_)
	g.signal(syscall.SIGCONT)
	// What timed out meanwhile is noticed after that.
	g.w.pause(stopGrace)
	g.w.healed(fault)
}

func (g *gateway) signal(s syscall.Signal) {
	g.w.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.w.Fatalf("%v %s: %v", s, g.name, err)
	}
}

// end sends a signal that ends it, and waits.
func (g *gateway) end(s syscall.Signal) {
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Signal(s) // it may have ended
	g.await()
	g.cmd = nil
}

func (g *gateway) await() {
	g.w.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		_ = g.cmd.Process.Kill()
		<-g.done
		g.w.Errorf("%s does not end", g.name)
	}
}

// fault enters a fault that lasts until the gateway is ready again.
func (g *gateway) fault(what string, reach time.Duration) {
	g.kept = append(g.kept, g.w.fault(what, reach))
}

func (g *gateway) healed() {
	for _, fault := range g.kept {
		g.w.healed(fault)
	}
	g.kept = nil
}

// tail keeps the latest lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 60

// read adds what a process writes, until it has ended.
func (t *tail) read(log io.Reader) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		t.add(lines.Bytes())
	}
	_, _ = io.Copy(io.Discard, log)
}

func (t *tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = t.lines[:copy(t.lines, t.lines[1:])]
	}
	t.lines = append(t.lines, string(line))
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
