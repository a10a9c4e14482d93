package chaos

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"fanjet/internal/failpoint"
)

// everything is a configuration in which an event meets every stage: a healthy
// endpoint, one that fails now and then, a slow one that needs its lane, one in
// order, and one whose deliveries die.
const everything = `
endpoints:
  steady: {url: "http://HOOK/steady"}
  flaky:
    url: http://HOOK/flaky
    retry: {schedule: [50ms, 50ms, 100ms, 100ms, 200ms, 200ms, 300ms, 300ms]}
    circuit: {failures: 0}
  slow: {url: "http://HOOK/slow", max_in_flight: 4, rate_limit: 400/s}
  line:
    url: http://HOOK/line
    ordered: true
    retry: {schedule: [20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms]}
  dying: {url: "http://HOOK/dying", dead_letter_on: [422]}
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

func (w *world) everything() *gateway {
	w.Helper()
	w.ledger.Ordered("line")
	w.hooks.set("flaky", failing(3, http.StatusServiceUnavailable))
	w.hooks.set("line", failing(20, http.StatusInternalServerError))
	w.hooks.set("dying", always(http.StatusUnprocessableEntity))
	return w.newGateway("gateway", w.embedded("fsync"), everything)
}

// At every point of its work the gateway kills itself, once. It is started again,
// and nothing is lost, nor done twice without a reason.
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
	// They mostly wait for what the dead process held.
	places := make(chan struct{}, 6)
	var runs sync.WaitGroup
	for _, c := range cases {
		runs.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			t.Run(string(c.point), func(t *testing.T) {
				w := newWorld(t)
				g := w.everything()
				g.start(arm(c.point, c.hit))
				p := w.newProducer(g.url, everythingKind)
				var publishing sync.WaitGroup
				publishing.Go(func() { p.publish(400) })
				g.died()
				g.start()
				publishing.Wait()
				w.settle()
			})
		})
	}
	runs.Wait()
}

// arm is the environment of a process that kills itself at the n-th hit of a
// point.
func arm(point failpoint.Point, n int) string {
	return fmt.Sprintf("FANJET_FAILPOINT=%s:%d", point, n)
}
