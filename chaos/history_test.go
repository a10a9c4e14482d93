package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

// Environment variables about the histories of failed runs.
const (
	keepIn       = "CHAOS_KEEP"    // where to keep them; empty: in the folder for temporary files
	judgeHistory = "CHAOS_HISTORY" // the folder of one, for TestJudgeAgain
)

// The files in the folder of a history, besides the logs of the gateways.
const (
	historyFile = "history.ndjson" // internal/ledger describes the format
	verdictFile = "verdict.txt"    // what the ledger said at the time, for people
)

// keep writes the history of a run that failed to a folder, once. The first
// gateway that can be asked tells the dead letters, if the run did not come as far
// as the account.
func (w *world) keep() {
	w.keeping.Do(func() {
		about := strings.TrimSpace(w.Name() + " " + w.about)
		standing := w.standing
		for _, g := range w.gateways {
			if standing == nil && g.cmd != nil && !g.gone() {
				standing = g.standing()
			}
		}
		if standing == nil {
			standing = new(ledger.Standing)
			about += " (the dead letters are not known)"
		}
		dir, err := historyFolder(w.Name())
		if err != nil {
			w.Logf("the history is not kept: %v", err)
			return
		}
		err = keepHistory(dir, about, w.ledger, *standing)
		for _, g := range w.gateways {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, g.name+".log"), []byte(g.log.String()+"\n"), 0o600))
		}
		if err != nil {
			w.Logf("the history is not kept: %v", err)
			return
		}
		w.Logf("the history is kept; to judge it again: %s=%s go test -count=1 -run '^TestJudgeAgain$' -v ./chaos", judgeHistory, dir)
	})
}

// standing asks for the dead letters; nil: there is no answer.
func (g *gateway) standing() *ledger.Standing {
	letters, err := g.listAll()
	if err != nil {
		return nil
	}
	return &ledger.Standing{Dead: letters}
}

// historyFolder makes a folder for the history of a test.
func historyFolder(test string) (string, error) {
	in, prefix := os.Getenv(keepIn), ""
	if in == "" {
		in, prefix = os.TempDir(), "fanjet-chaos-"
	} else if err := os.MkdirAll(in, 0o750); err != nil {
		return "", err
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\*=,:@ `, r) {
			return '-'
		}
		return r
	}, test)
	return os.MkdirTemp(in, prefix+name+"-")
}

// keepHistory writes an account and its verdict to a folder.
func keepHistory(dir, about string, l *ledger.Ledger, standing ledger.Standing) error {
	file, err := os.Create(filepath.Join(dir, historyFile))
	if err != nil {
		return err
	}
	report := l.Check(standing)
	return errors.Join(
		l.Keep(file, about, standing),
		file.Close(),
		os.WriteFile(filepath.Join(dir, verdictFile), []byte(about+"\n"+report.String()), 0o600),
	)
}

// judge reads the history in a folder and gives the verdict of today.
func judge(dir string) (about string, report ledger.Report, err error) {
	file, err := os.Open(filepath.Join(dir, historyFile))
	if err != nil {
		return "", report, err
	}
	defer file.Close()
	l, about, standing, err := ledger.Read(file)
	if err != nil {
		return "", report, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return about, l.Check(standing), nil
}

// A history that was kept is judged again: that in CHAOS_HISTORY, or those in
// testdata, of which the verdict is known.
func TestJudgeAgain(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(judgeHistory); dir != "" {
		about, report, err := judge(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s\n%s", about, &report)
		if err := report.Err(); err != nil {
			t.Error(err)
		}
		return
	}
	for name, want := range map[string]string{
		"schedule-not-stored": "the account does not balance: lost 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			about, report, err := judge(filepath.Join("testdata", "histories", name))
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(report.Err()); got != want {
				t.Errorf("%s: %s, want %s\n%s", about, got, want, &report)
			}
		})
	}
}

// What is kept of a run has the verdict of the run.
func TestKeptHistoryIsJudgedAlike(t *testing.T) {
	t.Parallel()
	for name, delivered := range map[string]bool{"lost": false, "delivered": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := ledger.New()
			body := ledger.HashOf([]byte(name))
			n, err := l.Publish(ledger.Event{ID: "msg_1", Body: body, Published: time.Now(), Endpoints: []string{"dying", "steady"}})
			if err != nil {
				t.Fatal(err)
			}
			l.Accept(n, "EVENTS", 1, time.Now())
			l.Healed(l.Fault(ledger.Fault{What: "kill -9 gateway", From: time.Now(), Reach: killReach}), time.Now())
			if delivered {
				l.End(l.Begin(ledger.Request{Endpoint: "steady", ID: "msg_1", Body: body, Attempt: 1, Began: time.Now()}), 200, time.Now())
			}
			dir := t.TempDir()
			standing := ledger.Standing{Dead: []ledger.Pair{{Endpoint: "dying", ID: "msg_1", Source: "EVENTS/1", Reason: "rejected"}}}
			if err := keepHistory(dir, t.Name(), l, standing); err != nil {
				t.Fatal(err)
			}
			about, report, err := judge(dir)
			if err != nil || about != t.Name() {
				t.Fatalf("%q: %v", about, err)
			}
			if first := l.Check(standing); report.String() != first.String() {
				t.Errorf("judged again it is\n%s\nand was\n%s", &report, &first)
			}
			if lost := report.Failed[ledger.Lost]; (lost == 0) != delivered || report.Dead != 1 {
				t.Errorf("lost %d, dead %d", lost, report.Dead)
			}
		})
	}
}
