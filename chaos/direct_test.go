package chaos

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// attempts are the numbers of the requests of an endpoint, as they come.
type attempts struct {
	mu   sync.Mutex
	seen []int
}

// noted has a behaviour note them.
func (s *attempts) noted(b behaviour) behaviour {
	return func(a arrival) int {
		s.mu.Lock()
		s.seen = append(s.seen, a.attempt)
		s.mu.Unlock()
		return b(a)
	}
}

func (s *attempts) all() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// An event goes to an endpoint that takes it, one that fails and one that hangs, and a
// second after the last of it was tried everything is killed, the server with it. What is
// stored of the event is not made a second time beside that: the failing endpoint gets
// each attempt once, whether its retry came before the end or comes after it, and the good
// one nothing.
func TestKilledBesideAHangingAttempt(t *testing.T) {
	t.Parallel()
	for name, direct := range map[string]bool{"direct": true, "stored": false} {
		// How long the failing endpoint waits, and its attempts by the time of the end.
		for wait, tried := range map[string]int{"300ms": 4, "5s": 1} {
			t.Run(name+" "+wait, func(t *testing.T) {
				t.Parallel()
				testKilledBesideAHangingAttempt(t, direct, wait, tried)
			})
		}
	}
}

func testKilledBesideAHangingAttempt(t *testing.T, direct bool, wait string, tried int) {
	w := newWorld(t)
	w.direct = direct
	g := w.newGateway("gateway", w.embedded("fsync"), `
endpoints:
  good: {url: "http://HOOK/good"}
  failing: {url: "http://HOOK/failing", retry: {schedule: [`+wait+`, 100ms, 100ms]}}
  hanging: {url: "http://HOOK/hanging", timeout: 4s, retry: {schedule: [100ms, 100ms]}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [good, failing, hanging]}]
`)
	var good, failing attempts
	w.hooks.set("good", good.noted(always(http.StatusOK)))
	w.hooks.set("failing", failing.noted(func(a arrival) int {
		if a.attempt < 4 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}))
	w.hooks.set("hanging", func(a arrival) int {
		if a.number > 1 {
			return http.StatusOK
		}
		<-a.Done()
		return 0
	})
	g.start()
	p := w.newProducer(g.url, func(int) kind { return kind{subject: "events.x", endpoints: []string{"good", "failing", "hanging"}} })
	p.publish(1)
	w.until("it was sent to all", func() bool {
		return w.hooks.count("good") > 0 && w.hooks.count("failing") == tried && w.hooks.count("hanging") > 0
	})
	w.pause(time.Second)
	g.kill()
	g.start()
	w.settle()
	if seen := failing.all(); !slices.Equal(seen, []int{1, 2, 3, 4}) {
		t.Errorf("the failing endpoint got the attempts %v", seen)
	}
	if seen := good.all(); !slices.Equal(seen, []int{1}) {
		t.Errorf("the good endpoint got the attempts %v", seen)
	}
}
