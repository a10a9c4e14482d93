package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/ledger"
)

// everything is a configuration in which an event meets every stage: a healthy
// endpoint, one that fails now and then, a slow one that needs its lane, one in
// order, and one whose deliveries die.
const everything = `
endpoints:
  steady: {url: "http://HOOK/steady", retry: {schedule: [100ms, 100ms, 200ms, 200ms, 500ms, 500ms, 1s, 1s]}}
  flaky:
    url: http://HOOK/flaky
    retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms, 300ms, 300ms]}
    circuit: {failures: 0}
  slow: {url: "http://HOOK/slow", max_in_flight: 4, rate_limit: SLOWLY}
  line:
    url: http://HOOK/line
    ordered: true
    retry: {schedule: [20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms]}
  # It refuses every event: what is tested is letters, not how it is spared.
  dying: {url: "http://HOOK/dying", dead_letter_on: [422], circuit: {failures: 0}}
subscriptions:
  - {name: all, subjects: ["events.>"], endpoints: [steady]}
  - {name: odd, subjects: ["events.>"], filter: data.n % 2 == 1, endpoints: [flaky]}
  - {name: slow, subjects: [events.slow], endpoints: [slow]}
  - {name: line, subjects: [events.line], endpoints: [line]}
  - {name: dying, subjects: [events.dying], endpoints: [dying]}
`

// everythingKind says who must get an event in that configuration.
func everythingKind(n int) kind {
	k := kind{endpoints: []string{"steady"}}
	if n%2 == 1 {
		k.endpoints = append(k.endpoints, "flaky")
	}
	switch n % 8 {
	case 0, 1:
		k.subject, k.endpoints = "events.slow", append(k.endpoints, "slow")
	case 2, 3:
		k.subject, k.endpoints = "events.line", append(k.endpoints, "line")
	case 4:
		k.subject, k.endpoints = "events.dying", append(k.endpoints, "dying")
	default:
		k.subject = "events.other"
	}
	return k
}

// everything makes a gateway with that configuration. slowly is the rate limit of
// the slow endpoint: what is beyond it moves to the lane.
func (w *world) everything(durability, slowly string) *gateway {
	w.Helper()
	w.ledger.Ordered("line")
	w.hooks.set("flaky", failing(3, http.StatusServiceUnavailable))
	w.hooks.set("line", failing(20, http.StatusInternalServerError))
	w.hooks.set("dying", always(http.StatusUnprocessableEntity))
	return w.newGateway("gateway", w.embedded(durability), strings.ReplaceAll(everything, "SLOWLY", slowly))
}

// At every point of its work the gateway kills itself, once. It is started again,
// and nothing is lost, nor done twice without a reason.
//
// Promise 1: nothing is lost, wherever the process dies.
func TestKillMatrix(t *testing.T) {
	t.Parallel()
	cases := []struct {
		point failpoint.Point
		hit   int
	}{
		{failpoint.EventFetched, 150},
		{failpoint.EventMatched, 150},
		{failpoint.Enqueued, 201},
		{failpoint.Publishing, 99},
		{failpoint.FanoutPartly, 120},
		{failpoint.FanoutStored, 120},
		{failpoint.CursorWritten, 1},
		{failpoint.DeliveryFetched, 250},
		{failpoint.Attempting, 200},
		{failpoint.RequestSent, 200},
		{failpoint.Accepted, 200},
		{failpoint.RetryStored, 20},
		{failpoint.HeadStored, 2},
		{failpoint.LetterStored, 10},
		{failpoint.Diverting, 5},
		{failpoint.LaneStored, 5},
		{failpoint.Truncating, 1},
		{failpoint.Truncated, 2},
	}
	b := newBatch(t)
	for _, c := range cases {
		b.run(string(c.point), func(t *testing.T) {
			w := newWorld(t)
			g := w.everything("fsync", "30/s")
			// However slowly the events come: what waits behind these moves to the lane.
			release := w.hooks.hold("slow")
			g.start(arm(c.point, c.hit))
			p := w.newProducer(g.url, everythingKind)
			var publishing sync.WaitGroup
			publishing.Go(func() { p.publish(matrixEvents) })
			w.until("the lane is in use", func() bool { return g.gone() || g.metric("fanjet_lane_moves_total") > 5 })
			release()
			g.died()
			g.start()
			publishing.Wait()
			w.settle()
		})
	}
	b.run(string(failpoint.ReplayStored), testKillInReplay)
	b.run(string(failpoint.DrainSynced), testKillInDrain)
	for _, point := range []failpoint.Point{failpoint.EndpointsReplaced, failpoint.MatcherReplaced} {
		b.run(string(point), func(t *testing.T) { testKillInReload(t, point) })
	}
	b.wait()
	covered(t, b.names)
}

// matrixEvents is how many events a run of the matrix has.
const matrixEvents = 400

// testKillInReplay kills a replay, which is run again then. Nothing is delivered
// twice, although it is not known which letters had become deliveries.
func testKillInReplay(t *testing.T) {
	w := newWorld(t)
	g := w.everything("fsync", "30/s")
	g.start()
	p := w.newProducer(g.url, everythingKind)
	p.publish(matrixEvents)
	w.quiet(g.url())
	letters := g.letters()
	if want := matrixEvents / 8; len(letters) != want {
		t.Fatalf("%d letters, want %d", len(letters), want)
	}
	w.hooks.set("dying", nil)
	for _, l := range letters {
		w.ledger.Replayed(l, time.Now())
	}
	replay := []string{"dlq", "replay", "--endpoint", "dying", "--yes"}
	if _, err := g.run([]string{arm(failpoint.ReplayStored, 10)}, replay...); !killed(err) {
		t.Fatalf("the replay ended with: %v", err)
	}
	if left := len(g.letters()); left == 0 {
		t.Error("no letter is left after the replay was killed")
	}
	if _, err := g.run(nil, replay...); err != nil {
		t.Fatal(err)
	}
	report := w.settle()
	if report.Dead != 0 || report.Count(ledger.Repeat) != 0 {
		t.Errorf("after the replay: %s", &report)
	}
}

// testKillInDrain kills a drain, which is run again then. Each letter is in the
// file once, and none is in the queue.
func testKillInDrain(t *testing.T) {
	w := newWorld(t)
	g := w.everything("fsync", "30/s")
	g.start()
	p := w.newProducer(g.url, everythingKind)
	p.publish(matrixEvents)
	w.quiet(g.url())
	letters := g.letters()
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	drain := []string{"dlq", "drain", "--endpoint", "dying", "--out", file}
	if _, err := g.run([]string{arm(failpoint.DrainSynced, 1)}, drain...); !killed(err) {
		t.Fatalf("the drain ended with: %v", err)
	}
	if left := len(g.letters()); left != len(letters) {
		t.Errorf("%d letters are left after the drain was killed, want all %d", left, len(letters))
	}
	if _, err := g.run(nil, drain...); err != nil {
		t.Fatal(err)
	}
	if left := len(g.letters()); left != 0 {
		t.Errorf("%d letters are left", left)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[uint64]int)
	for line := range bytes.Lines(text) {
		var l struct {
			Seq uint64 `json:"seq"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		lines[l.Seq]++
	}
	if len(lines) != len(letters) || len(letters) != matrixEvents/8 {
		t.Errorf("the file has %d letters, want %d", len(lines), len(letters))
	}
	for seq, n := range lines {
		if n != 1 {
			t.Errorf("the letter %d is in the file %d times", seq, n)
		}
	}
}

// testKillInReload kills the gateway while it puts another configuration into
// force. After the start that one is in force.
func testKillInReload(t *testing.T, point failpoint.Point) {
	w := newWorld(t)
	g := w.everything("fsync", "30/s")
	text := strings.Replace(strings.ReplaceAll(everything, "SLOWLY", "30/s"), "subscriptions:", `  leaving: {url: "http://HOOK/leaving"}
subscriptions:
  - {name: leaving, subjects: [events.leaving], endpoints: [leaving]}`, 1)
	g.configure(w.embedded("fsync"), text)
	g.start(arm(point, 1))
	p := w.newProducer(g.url, func(n int) kind {
		k := everythingKind(n)
		if n >= matrixEvents {
			k = kind{subject: "events.joining", endpoints: []string{"steady", "joining"}}
			if n%2 == 1 {
				k.endpoints = append(k.endpoints, "flaky")
			}
		}
		return k
	})
	var publishing sync.WaitGroup
	publishing.Go(func() { p.publish(matrixEvents) })
	w.until("deliveries flow", func() bool { return w.hooks.count("steady") > matrixEvents/8 })
	g.configure(w.embedded("fsync"), strings.ReplaceAll(text, "leaving", "joining"))
	g.signal(syscall.SIGHUP)
	g.died()
	g.start()
	publishing.Wait()
	p.publish(20)
	w.settle()
}

// batch runs cases beside each other, more than there are processors: they mostly
// wait for what a dead process held.
type batch struct {
	t      *testing.T
	places chan struct{}
	names  []string
	runs   sync.WaitGroup
}

func newBatch(t *testing.T) *batch { return &batch{t: t, places: make(chan struct{}, 6)} }

func (b *batch) run(name string, test func(t *testing.T)) {
	b.names = append(b.names, name)
	b.runs.Go(func() {
		b.places <- struct{}{}
		defer func() { <-b.places }()
		b.t.Run(name, test)
	})
}

func (b *batch) wait() { b.runs.Wait() }

// covered checks that every point that exists has a case.
func covered(t *testing.T, names []string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "internal", "failpoint", "points.go"))
	if err != nil {
		t.Fatal(err)
	}
	points := regexp.MustCompile(`Point = "(.+)"`).FindAllStringSubmatch(string(source), -1)
	if len(points) < 20 {
		t.Errorf("only %d points are known", len(points))
	}
	for _, point := range points {
		if !slices.Contains(names, point[1]) {
			t.Errorf("no case kills at the point %q", point[1])
		}
	}
}

// arm is the environment of a process that kills itself at the n-th hit of a
// point.
func arm(point failpoint.Point, n int) string {
	return fmt.Sprintf("FANJET_FAILPOINT=%s:%d", point, n)
}
