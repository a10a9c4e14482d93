package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where the way of a delivery may depend on how many endpoints get its event, the
// gateway is killed under load, alone or with its server, while a receiver hangs. Each
// number is tried in one of the two ways, and in both when `make chaos` runs it.
//
// Promise 1: nothing is lost, however many get an event.
func TestKillByFanOut(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	for i, fanOut := range []int{1, 10, 16, 17, 1000} {
		for everything, what := range []string{"gateway", "everything"} {
			if os.Getenv(soakMinutes) != "" || i%2 == everything {
				b.run(fmt.Sprintf("%d-%s", fanOut, what), func(t *testing.T) { testKillByFanOut(t, fanOut, what == "everything") })
			}
		}
	}
	b.wait()
}

// kills are how often each run kills its gateway.
const kills = 2

func testKillByFanOut(t *testing.T, fanOut int, everything bool) {
	w := newWorld(t)
	section, url := w.embedded("fsync"), ""
	if !everything {
		server := w.newServer("fsync")
		section, url = server.section(), server.url()
	}
	names, yaml := fanningOut(fanOut)
	g := w.newGateway("gateway", section, yaml)
	if fanOut > 1 {
		w.ledger.Ordered("line")
		w.hooks.set("flaky", failing(10, http.StatusServiceUnavailable))
	}
	g.start()
	p := w.newProducer(func() string {
		if url != "" {
			return url
		}
		return g.url()
	}, func(int) kind { return kind{subject: "events.x", endpoints: names} })
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, max(1, 300/fanOut)) })
	for range kills {
		have := w.hooks.count(names[0])
		w.until("deliveries flow", func() bool { return w.hooks.count(names[0]) > have+min(10, 1000/fanOut) })
		release := w.hooks.hold(names[len(names)-1])
		w.until("a receiver hangs", func() bool { return w.hooks.atWork(names[len(names)-1]) > 0 })
		w.pause(time.Second)
		g.kill()
		release()
		g.start()
	}
	stop()
	load.Wait()
	report := w.settle()
	if report.Delivered == 0 || report.Dead > 0 {
		t.Errorf("too little happened, or too much: %s", &report)
	}
}

// fanningOut is a configuration in which every event goes to so many endpoints. From
// two on, one of them fails now and then, and one is in order.
func fanningOut(n int) (names []string, yaml string) {
	var b strings.Builder
	b.WriteString("endpoints:\n")
	for i := range n {
		name, more := fmt.Sprintf("endpoint-%d", i), ""
		switch i {
		case 1:
			name, more = "flaky", "circuit: {failures: 0}, "
		case 2:
			name, more = "line", "ordered: true, "
		}
		names = append(names, name)
		fmt.Fprintf(&b, "  %s: {url: \"http://HOOK/%s\", %sretry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}}\n", name, name, more)
	}
	fmt.Fprintf(&b, "subscriptions: [{name: all, subjects: [\"events.>\"], endpoints: [%s]}]\n", strings.Join(names, ", "))
	return names, b.String()
}
