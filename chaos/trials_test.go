package chaos

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

const (
	// reduceTries and reduceTime bound how smaller plans are looked for.
	reduceTries = 60
	reduceTime  = 15 * time.Minute
	// repeats are how often a plan must pass to count as one that does.
	repeats = 4
)

// reduceFailure looks for the smallest plan that fails, and prints how to carry it
// out. It begins with the first one that fails again.
func reduceFailure(t *testing.T, failed []plan) {
	t.Helper()
	tries := newTrials(t)
	for _, p := range failed {
		if !tries.fails(p) {
			t.Errorf("%d more runs did not fail; the one that did was:\n%s", repeats, command(p))
			continue
		}
		smallest, asked := reduce(p, reduceTries, tries.fails)
		t.Errorf("reduced in %d tries to:\n%s\nits history is in %s", asked, command(smallest), tries.keep())
		return
	}
}

func command(p plan) string {
	return fmt.Sprintf("%s='%s' go test -count=1 -run '^TestMetamorphic$' -v ./chaos", onePlan, p)
}

// trials carries out plans in processes of their own, so that one that fails fails
// no test here.
type trials struct {
	t     *testing.T
	dir   string
	end   time.Time
	n     int
	worst string // the folder of the latest that failed
}

func newTrials(t *testing.T) *trials {
	t.Helper()
	for _, program := range []func() (string, error){built.fanjet, built.natsServer} {
		if _, err := program(); err != nil {
			t.Fatal(err)
		}
	}
	return &trials{t: t, dir: t.TempDir(), end: time.Now().Add(reduceTime)}
}

// fails carries out a plan several times, beside each other, and reports whether
// one of them failed.
func (r *trials) fails(p plan) bool {
	if time.Now().After(r.end) {
		return false
	}
	r.n++
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*patience)
	defer cancel()
	folders := make(chan string, repeats)
	for i := range repeats {
		go func() { folders <- r.run(ctx, p, filepath.Join(r.dir, fmt.Sprintf("%d-%d", r.n, i))) }()
	}
	failed := ""
	for range repeats {
		if folder := <-folders; folder != "" && failed == "" {
			failed = folder
			cancel() // the others need not end
		}
	}
	if failed == "" {
		r.t.Logf("try %d passed: %s", r.n, p)
		return false
	}
	r.t.Logf("try %d failed: %s", r.n, p)
	r.worst = failed
	return true
}

// run carries out a plan once, and returns the folder with its history if it
// failed.
func (r *trials) run(ctx context.Context, p plan, folder string) string {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestMetamorphic$", "-test.v")
	// Who ends it early ends what it has started, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	temporary := folder + "-tmp"
	if err := os.MkdirAll(temporary, 0o750); err != nil {
		r.t.Error(err)
	}
	cmd.Env = append(os.Environ(), onePlan+"="+p.String(), keepIn+"="+folder, "TMPDIR="+temporary, "FANJET_TEST_PROGRAMS="+programsFolder())
	out, err := cmd.CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return ""
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		r.t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "output.txt"), out, 0o600); err != nil {
		r.t.Error(err)
	}
	return folder
}

// programsFolder is where the programs are that this process uses.
func programsFolder() string {
	return cmp.Or(os.Getenv("FANJET_TEST_PROGRAMS"), built.dir)
}

// keep moves what the smallest plan left to where histories are kept.
func (r *trials) keep() string {
	dir, err := historyFolder(r.t.Name() + "-reduced")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(r.worst))
	}
	if err != nil {
		r.t.Logf("the history is not kept: %v", err)
	}
	return dir
}

// A run in which something is lost fails, and what it keeps is judged as the loss
// that it was.
func TestMetamorphicCanFail(t *testing.T) {
	t.Parallel()
	p, err := parsePlan("seed=1 events=0-29 endpoints=plain,wavy faults=lose@5:plain settings=")
	if err != nil {
		t.Fatal(err)
	}
	r := newTrials(t)
	folder := r.run(t.Context(), p, filepath.Join(r.dir, "kept"))
	if folder == "" {
		t.Fatal("the run passed")
	}
	histories, err := filepath.Glob(filepath.Join(folder, "TestMetamorphic-*"))
	if err != nil || len(histories) != 1 {
		t.Fatalf("histories: %v, %v", histories, err)
	}
	about, report, err := judge(histories[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(about, p.String()) {
		t.Errorf("it is about %q", about)
	}
	if lost := report.Failed[ledger.Lost]; lost == 0 || len(report.Failed) != 1 || report.Accepted != len(p.events) {
		t.Errorf("judged again: %s", &report)
	}
	for _, o := range report.Offences {
		if o.Pair.Endpoint != "plain" {
			t.Errorf("lost is %+v", o.Pair)
		}
	}
}
