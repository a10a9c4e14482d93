package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const crashSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// gatewayProcess is a `fanjet serve` in a process of its own.
type gatewayProcess struct {
	*testing.T
	program, config string
	cmd             *exec.Cmd
	url             string // of its NATS server
	admin           string // URL of its admin listener
}

// newGatewayProcess writes the configuration: all relative to a new folder, the
// listeners on free ports. hook is the receiver's address.
func newGatewayProcess(t *testing.T, hook, rest string) *gatewayProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &gatewayProcess{T: t, program: filepath.Join(dir, "fanjet"), config: filepath.Join(dir, "fanjet.yaml")}
	if err := os.Symlink(self, p.program); err != nil {
		t.Fatal(err)
	}
	text := `
version: 1
nats: {embedded: {store_dir: data, listen: "127.0.0.1:0"}}
admin: {listen: "127.0.0.1:0"}
egress: {allow_http: true, allow_cidrs: ["127.0.0.0/8"]}
defaults: {secrets: ["` + crashSecret + `"]}
` + strings.ReplaceAll(rest, "HOOK", hook)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// start starts it and waits until it is ready.
func (p *gatewayProcess) start() {
	p.Helper()
	p.cmd = exec.Command(p.program, "serve", "--config", p.config, "--log-format", "json")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	lines := json.NewDecoder(stderr)
	for {
		var line struct{ Msg, NATS, Admin string }
		if err := lines.Decode(&line); err != nil {
			p.Fatalf("the gateway did not start: %v", err)
		}
		if line.Msg == "ready" {
			p.url, p.admin = line.NATS, line.Admin
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, io.MultiReader(lines.Buffered(), stderr)) }()
}

// metric returns the value of a metric without labels, as text.
func (p *gatewayProcess) metric(name string) string {
	p.Helper()
	resp, err := http.Get(p.admin + "/metrics")
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// kill ends it as a power cut would end the process.
func (p *gatewayProcess) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// terminate ends it in order.
func (p *gatewayProcess) terminate() {
	p.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("the gateway ended with: %v", err)
	}
	p.cmd = nil
}

// ledger is a receiver that remembers what arrived.
type ledger struct {
	t      *testing.T
	server *httptest.Server
	verify *standard.Webhook

	mu  sync.Mutex
	got map[string]map[string]int // endpoint, body: how often it was accepted
	ids map[string]string         // of a body
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	verify, err := standard.NewWebhook(crashSecret)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{t: t, verify: verify, got: map[string]map[string]int{}, ids: map[string]string{}}
	l.server = httptest.NewServer(l)
	t.Cleanup(l.server.Close)
	return l
}

func (l *ledger) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gateway was killed
	}
	if err := l.verify.Verify(body, r.Header); err != nil {
		l.t.Errorf("signature: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id, text := r.Header.Get("Webhook-Id"), string(body)
	if known := l.ids[text]; known != "" && known != id {
		l.t.Errorf("%s came as %s and as %s", text, known, id)
	}
	l.ids[text] = id
	endpoint := strings.TrimPrefix(r.URL.Path, "/")
	if l.got[endpoint] == nil {
		l.got[endpoint] = map[string]int{}
	}
	l.got[endpoint][text]++
}

func (l *ledger) count(endpoint string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got[endpoint])
}

// A stop in order, and a start, double nothing.
func TestTerminateDoublesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	p := newGatewayProcess(t, l.server.Listener.Addr().String(), `
endpoints: {steady: {url: "http://HOOK/steady"}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [steady]}]
`)
	const n = 1500
	p.start()
	publishNumbered(t, p.url, n)
	for i := range 3 {
		waitUntil(t, "some more have arrived", func() bool { return l.count("steady") > i*n/4 })
		p.terminate()
		p.start()
	}
	waitUntil(t, "everything has arrived", func() bool { return l.count("steady") == n })
	p.terminate()
	l.mu.Lock()
	defer l.mu.Unlock()
	for body, times := range l.got["steady"] {
		if times != 1 {
			t.Errorf("%s came %d times", body, times)
		}
	}
}

func publishNumbered(t *testing.T, url string, n int) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.PublishAsync("events.x", fmt.Appendf(nil, `{"n": %d}`, i), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		t.Fatal("publishing takes too long")
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited too long until %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// The tour ends well, and says so in figures.
func TestDemoOnce(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--once"}, streams{in: strings.NewReader(""), out: &out, err: &log}); code != exitOK {
		t.Fatalf("exit code %d\n%s\n%s", code, &out, &log)
	}
	if want := "8 events, 7 deliveries, each exactly once, 6 failed attempts, 0 lost"; !strings.Contains(out.String(), want) {
		t.Errorf("it does not say %q:\n%s", want, &out)
	}
}
