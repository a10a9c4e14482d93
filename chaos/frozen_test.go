package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fanjet/internal/ledger"
)

const (
	slots      = 2  // the attempts that a gateway makes at once at each of four endpoints
	frozenRate = 80 // events a second
)

// Of two gateways beside one server each is stopped under load, for less and for longer
// than anybody waits for it. Nothing is lost, order stays, and what comes twice has that
// reason.
func TestFrozenReplica(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	for _, long := range []time.Duration{2 * time.Second, 4 * time.Second, 12 * time.Second} {
		b.run(long.String()+directly, func(t *testing.T) { testFrozenReplica(t, true, long) })
	}
	for _, long := range []time.Duration{4 * time.Second, 12 * time.Second} {
		b.run(long.String(), func(t *testing.T) { testFrozenReplica(t, false, long) })
	}
	b.wait()
}

func testFrozenReplica(t *testing.T, direct bool, long time.Duration) {
	w := newWorld(t)
	w.direct = direct
	server := w.newServer("fsync")
	yaml := strings.ReplaceAll(`
endpoints:
  steady: {url: "http://HOOK/steady", max_in_flight: SLOTS}
  steep: {url: "http://HOOK/steep", max_in_flight: SLOTS}
  flaky: {url: "http://HOOK/flaky", max_in_flight: SLOTS, circuit: {failures: 0}, retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}}
  line: {url: "http://HOOK/line", ordered: true, max_in_flight: SLOTS}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [steady, steep, flaky, line]}]
`, "SLOTS", strconv.Itoa(slots))
	w.ledger.Ordered("line")
	for _, endpoint := range []string{"steady", "steep"} {
		w.hooks.set(endpoint, slow(10*time.Millisecond))
	}
	w.hooks.set("flaky", failing(10, http.StatusServiceUnavailable))
	for i := range 2 {
		w.newGateway(fmt.Sprintf("gateway-%d", i), server.section(), yaml).start()
	}
	p := w.newProducer(server.url, func(int) kind {
		return kind{subject: "events.x", endpoints: []string{"steady", "steep", "flaky", "line"}}
	})
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, frozenRate) })
	// One of the two has the events, and it is not known which.
	for _, g := range w.gateways {
		have := w.hooks.count("steady")
		w.until("deliveries flow", func() bool { return w.hooks.count("steady") > have+50 })
		fault := w.fault("SIGSTOP "+g.name, lastMoment)
		g.signal(syscall.SIGSTOP)
		w.pause(long)
		g.signal(syscall.SIGCONT)
		w.until("it goes on", func() bool { return g.readyz() == "" })
		w.pause(stopGrace)
		w.healed(fault)
	}
	stop()
	load.Wait()
	report := w.settle()
	if report.Delivered == 0 || report.Dead > 0 {
		t.Errorf("too little happened, or too much: %s", &report)
	}
	// What was under way when a gateway stopped may be repeated, and with it what was accepted
	// of the same events.
	underWay := len(w.gateways) * 4 * slots
	repeated := report.Count(ledger.Repeat)
	if direct && repeated > 2*underWay {
		t.Errorf("%d came twice, though at most %d attempts were under way", repeated, underWay)
	}
	t.Logf("%d came twice; %d attempts at most were under way", repeated, underWay)
}
