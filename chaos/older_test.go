//go:build older

package chaos

import (
	"context"
	"net/http"
	"os"
	"sync"
	"testing"

	"fanjet/internal/ledger"
)

// olderProgram is an environment variable: a fanjet from before direct delivery, which
// `make older` builds.
const olderProgram = "FANJET_OLDER"

// A gateway of an older release works beside one of this, as while an installation is
// upgraded. Each of them is ended, killed and started under load, so that the events go
// back and forth between the two. Nothing is lost, no attempt is burned and order stays.
func TestOlderReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ledger.Ordered("line")
	w.hooks.set("steady", always(http.StatusOK))
	w.hooks.set("flaky", failing(5, http.StatusServiceUnavailable))
	w.hooks.set("line", failing(20, http.StatusInternalServerError))
	w.hooks.set("dying", always(http.StatusUnprocessableEntity))
	w.hooks.set("hanging", hanging)
	const yaml = `
endpoints:
  steady: {url: "http://HOOK/steady"}
  flaky: {url: "http://HOOK/flaky", circuit: {failures: 0}, retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}}
  line: {url: "http://HOOK/line", ordered: true, retry: {schedule: [20ms, 20ms, 20ms, 20ms, 20ms, 20ms]}}
  dying: {url: "http://HOOK/dying", dead_letter_on: [422], circuit: {failures: 0}}
  hanging: {url: "http://HOOK/hanging", circuit: {failures: 0}, retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}}
subscriptions:
  - {name: all, subjects: ["events.>"], endpoints: [steady, flaky, line, hanging]}
  - {name: dying, subjects: [events.dying], endpoints: [dying]}
`
	server := w.newServer("fsync")
	older := w.newGatewayOf(os.Getenv(olderProgram), "", "older", server.section(), yaml)
	newer := w.newGateway("newer", server.section(), yaml)
	older.start()
	newer.start()
	p := w.newProducer(server.url, func(n int) kind {
		k := kind{subject: "events.x", endpoints: []string{"steady", "flaky", "line", "hanging"}}
		if n%10 == 0 {
			k.subject, k.endpoints = "events.dying", append(k.endpoints, "dying")
		}
		return k
	})
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, mixedRate) })
	flows := func() {
		t.Helper()
		have := w.hooks.count("steady")
		w.until("deliveries flow", func() bool { return w.hooks.count("steady") > have+3*mixedRate })
	}
	direct := 0.0
	for range 2 {
		for _, g := range []*gateway{older, newer} {
			for _, end := range []func(){g.kill, g.terminate} {
				flows()
				direct = max(direct, newer.metric("fanjet_direct_deliveries_total"))
				end()
				flows() // the other one has them
				g.start()
			}
		}
	}
	stop()
	load.Wait()
	report := w.settle()
	if report.Delivered == 0 || report.Dead == 0 || direct == 0 {
		t.Errorf("too little happened: %v were delivered directly, %s", direct, &report)
	}
	t.Logf("%d came twice, %v were delivered directly", report.Count(ledger.Repeat), direct)
}
