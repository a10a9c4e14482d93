package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/ledger"
)

const (
	// killReach is how long before its death a process did what may be done again.
	// The server of the embedded NATS writes down what was acknowledged some time
	// later; a busy machine makes that longer.
	killReach = 3 * time.Second
	// lastMoment is how long before a change of leaders somebody must have begun to
	// work on a delivery to be known to NATS as who does.
	lastMoment = time.Second
	// stopGrace is how long after SIGCONT it may take until everything is noticed
	// that timed out.
	stopGrace = 500 * time.Millisecond
)

// keepLogs is an environment variable: a folder for the logs of the gateways, in
// full and at the level debug.
const keepLogs = "CHAOS_LOGS"

// world is one run: a folder, receivers, gateways, and the account of all.
type world struct {
	*testing.T
	dir      string
	program  string // fanjet
	logs     string // where to keep the whole logs of the gateways; empty: nowhere
	stream   string // the source, which has this name in no other run
	direct   bool   // deliver directly, as is the default
	ledger   *ledger.Ledger
	standing *ledger.Standing // what the ledger was last compared with; nil: it never was
	about    string           // what is run, besides the name of the test
	hooks    *receivers
	gateways []*gateway
	keeping  sync.Once
}

func newWorld(t *testing.T) *world {
	t.Helper()
	program, err := built.fanjet()
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New()
	return &world{T: t, dir: t.TempDir(), program: program, stream: "EVENTS-" + rand.Text()[:8], direct: true, logs: os.Getenv(keepLogs), ledger: l, hooks: newReceivers(t, l)}
}

// embedded is the section nats of a gateway with a server of its own, whose
// folder is "data". durability is fsync or a sync interval.
func (w *world) embedded(durability string) string {
	return `{embedded: {store_dir: data, listen: "127.0.0.1:0", durability: ` + durability + `}}`
}

// fault enters that something is broken from now on.
func (w *world) fault(what string, reach time.Duration) int {
	return w.ledger.Fault(ledger.Fault{What: what, From: time.Now(), Reach: reach})
}

// election enters that leaders change from now on, with nobody killed or cut off.
func (w *world) election(what string) int {
	return w.ledger.Fault(ledger.Fault{What: what, From: time.Now(), Reach: killReach, Moment: lastMoment})
}

// healed enters that its effects have ended.
func (w *world) healed(fault int) { w.ledger.Healed(fault, time.Now()) }

// run runs fanjet as an operator of the NATS server of a gateway, and returns
// what it printed and whether it succeeded.
func (g *gateway) run(env []string, args ...string) ([]byte, error) {
	settings := "url: " + g.url()
	if seed := g.w.operatorKey(); seed != "" {
		settings += ", credentials: " + seed
	}
	// A server on a free port is not the one that the gateway's configuration names.
	file := filepath.Join(g.w.dir, "operator.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nnats: {"+settings+"}\n"), 0o600); err != nil {
		return nil, err
	}
	ctx := g.w.Context()
	if ctx.Err() != nil { // the test is over, and its history is kept
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.w.program, append(args, "--config", file)...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		g.w.Logf("fanjet %v: %v\n%s", args, err, &stderr)
	}
	return out, err
}

// letters lists the dead letters.
func (g *gateway) letters() []ledger.Pair {
	g.w.Helper()
	letters, err := g.list()
	if err != nil {
		g.w.Fatal(err)
	}
	return letters
}

// list lists the dead letters that a filter selects, and checks that each may be
// there.
func (g *gateway) list(filter ...string) ([]ledger.Pair, error) {
	letters, err := g.listAll(filter...)
	if err != nil {
		return nil, err
	}
	for _, l := range letters {
		// The others accept everything in the end: a letter of theirs is a promise
		// that was not kept, even if no delivery is lost.
		if l.Endpoint != "dying" || l.Reason != "rejected" || l.Attempts < 1 {
			g.w.Errorf("a dead letter of %s: %s is %s after %d attempts", l.Endpoint, l.ID, l.Reason, l.Attempts)
		}
	}
	return letters, nil
}

// listAll lists the dead letters that a filter selects, whatever they are.
func (g *gateway) listAll(filter ...string) ([]ledger.Pair, error) {
	out, err := g.run(nil, append([]string{"dlq", "list", "-o", "json"}, filter...)...)
	if err != nil {
		return nil, err
	}
	var listed []struct {
		EventID  string `json:"event_id"`
		Endpoint string `json:"endpoint"`
		Source   string `json:"source"`
		Reason   string `json:"reason"`
		Attempts int    `json:"attempts"`
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, fmt.Errorf("fanjet dlq list: %w", err)
	}
	letters := make([]ledger.Pair, 0, len(listed))
	for _, l := range listed {
		letters = append(letters, ledger.Pair{Endpoint: l.Endpoint, ID: l.EventID, Source: l.Source, Reason: l.Reason, Attempts: l.Attempts})
	}
	return letters, nil
}

// operator connects to the NATS server of a gateway with all permissions.
func (w *world) operator(url string) *nats.Conn {
	w.Helper()
	opts := []nats.Option{nats.Name("chaos"), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}
	if seed := w.operatorKey(); seed != "" {
		opt, err := nats.NkeyOptionFromSeed(seed)
		if err != nil {
			w.Fatal(err)
		}
		opts = append(opts, opt)
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		w.Fatalf("connecting to %s: %v", url, err)
	}
	return nc
}

// operatorKey is the file with the key of an embedded server; empty: there is
// none.
func (w *world) operatorKey() string {
	file := filepath.Join(w.dir, "data", "operator.nk")
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// settle waits until nothing moves any more, ends the gateways in order, checks
// the account, and returns it.
func (w *world) settle() ledger.Report {
	w.Helper()
	w.quiet(w.gateways[0].url())
	report := w.check()
	for _, g := range w.gateways {
		if g.cmd != nil {
			g.terminate()
		}
	}
	return report
}

// check compares what was accepted with what was sent and what is dead.
func (w *world) check() ledger.Report {
	w.Helper()
	return w.compare(ledger.Standing{Dead: w.gateways[0].letters()})
}

// compare compares the account with what is known besides.
func (w *world) compare(standing ledger.Standing) ledger.Report {
	w.Helper()
	w.standing = &standing
	report := w.ledger.Check(standing)
	if err := report.Err(); err != nil {
		w.Errorf("%v\n%s", err, &report)
	} else {
		w.Logf("%s", &report)
	}
	return report
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			report := w.ledger.Check(ledger.Standing{})
			w.Fatalf("waited too long until %s\n%s", what, &report)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pause lets time pass, as part of what happens; nothing depends on how long it
// takes.
func (w *world) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.Context().Done():
	}
}
