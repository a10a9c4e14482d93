package chaos

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
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

// At every point of its work the gateway kills itself, once, with direct delivery and
// without. It is started again, and nothing is lost, burned, nor done twice without a
// reason.
//
// Promise 1: nothing is lost, wherever the process dies.
func TestKillMatrix(t *testing.T) {
	t.Parallel()
	cases := []struct {
		point  failpoint.Point
		hit    int // without direct delivery, where everything meets every point
		direct int // with it; 0: such a run would tell nothing else
	}{
		{failpoint.EventFetched, 150, 0},
		{failpoint.EventMatched, 150, 150},
		{failpoint.Enqueued, 201, 0},
		{failpoint.Publishing, 99, 0},
		{failpoint.FanoutPartly, 120, 0},
		{failpoint.FanoutStored, 120, 20},
		{failpoint.CursorWritten, 1, 1},
		{failpoint.DeliveryFetched, 250, 20},
		{failpoint.Attempting, 200, 200},
		{failpoint.RequestSent, 200, 200},
		{failpoint.Accepted, 200, 200},
		{failpoint.RetryStored, 20, 20},
		{failpoint.HeadStored, 2, 0},
		{failpoint.LetterStored, 10, 10},
		{failpoint.Diverting, 5, 0},
		{failpoint.LaneStored, 5, 5},
		{failpoint.Truncating, 1, 0},
		{failpoint.Truncated, 2, 0},
	}
	b := newBatch(t)
	for _, c := range cases {
		b.run(string(c.point), func(t *testing.T) { testKill(t, false, arm(c.point, c.hit)) })
		if c.direct > 0 {
			b.run(string(c.point)+directly, func(t *testing.T) { testKill(t, true, arm(c.point, c.direct)) })
		}
	}
	for point, hit := range directPoints() {
		b.run(string(point), func(t *testing.T) { testKillDirectly(t, point, hit) })
	}
	b.run(string(failpoint.ReplayStored), testKillInReplay)
	b.run(string(failpoint.DrainSynced), testKillInDrain)
	for _, point := range []failpoint.Point{failpoint.EndpointsReplaced, failpoint.MatcherReplaced} {
		b.run(string(point), func(t *testing.T) { testKillInReload(t, point) })
	}
	b.wait()
	covered(t, b.names)
}

const (
	matrixEvents = 400         // that a run of the matrix has
	directly     = "-directly" // the end of the name of a run with direct delivery
)

// testKill has the gateway kill itself while an event meets every stage.
func testKill(t *testing.T, direct bool, armed string) {
	w := newWorld(t)
	w.direct = direct
	g := w.everything("fsync", "30/s")
	// However slowly the events come: what waits behind these moves to the lane.
	release := w.hooks.hold("slow")
	g.start(armed)
	p := w.newProducer(g.url, everythingKind)
	var publishing sync.WaitGroup
	publishing.Go(func() { p.publish(matrixEvents) })
	w.until("the lane is in use", func() bool { return g.gone() || g.metric("fanjet_lane_moves_total") > 5 })
	release()
	g.died()
	g.start()
	publishing.Wait()
	w.settle()
}

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
