package chaos

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"fanjet/internal/failpoint"
)

// directPoints are those that only direct delivery meets, and at which hit of each the
// gateway dies.
func directPoints() map[failpoint.Point]int {
	return map[failpoint.Point]int{
		failpoint.Offered:       60,
		failpoint.DirectSettled: 40,
		failpoint.DirectFailed:  3,
		failpoint.WrittenDown:   3,
		failpoint.LeaseStored:   1,
		failpoint.LeaseReplaced: 1,
		failpoint.LeaseDropped:  1,
		failpoint.MarkStored:    1,
	}
}

// mixed is a configuration in which the deliveries of every event go different ways:
// one is taken, one fails now and then, one hangs now and then, and one waits for an
// endpoint that is busy, and is paused under way.
const mixed = `
endpoints:
  good: {url: "http://HOOK/good"}
  failing:
    url: http://HOOK/failing
    retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}
    circuit: {failures: 0}
  hanging:
    url: http://HOOK/hanging
    timeout: 10s
    retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms]}
    circuit: {failures: 0}
  busy: {url: "http://HOOK/busy", max_in_flight: 2}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [good, failing, hanging, busy]}]
`

const (
	mixedRate = 60 // events a second
	// One in so many hangs: an endpoint that hangs more often gets nothing directly.
	hangs = 60
	// hangTime is longer than an event is held.
	hangTime = 1500 * time.Millisecond
)

// hanging lets the first attempt of some events hang, and then takes half of them.
func hanging(a arrival) int {
	n := numberOf(a.body)
	if n%hangs != hangs-1 || a.attempt > 1 {
		return http.StatusOK
	}
	status := slow(hangTime)(a)
	if status == http.StatusOK && n/hangs%2 == 0 {
		return http.StatusInternalServerError
	}
	return status
}

// testKillDirectly has the gateway kill itself at a point of direct delivery.
func testKillDirectly(t *testing.T, point failpoint.Point, hit int) {
	w := newWorld(t)
	w.hooks.set("failing", failing(10, http.StatusServiceUnavailable))
	w.hooks.set("hanging", hanging)
	w.hooks.set("busy", slow(40*time.Millisecond))
	g := w.newGateway("gateway", w.embedded("fsync"), mixed)
	early := !g.start(arm(point, hit))
	if early {
		g.died()
		g.start()
	}
	p := w.newProducer(g.url, func(int) kind {
		return kind{subject: "events.x", endpoints: []string{"good", "failing", "hanging", "busy"}}
	})
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { p.produce(ctx, mixedRate) })
	w.until("deliveries flow", func() bool { return g.gone() || w.hooks.count("good") > mixedRate })
	pause := "/api/v1/endpoints/busy/"
	g.post(pause + "pause") // it may have died
	if !early {
		g.died()
		g.start()
	}
	w.until("the busy endpoint is paused", func() bool { return g.post(pause + "pause") })
	stop()
	load.Wait()
	w.until("the busy endpoint is resumed", func() bool { return g.post(pause + "resume") })
	w.settle()
}
