package subscriber

import "testing"

// An endpoint counts on until nothing of it is queued, in flight, on its way to its
// lane or being stored: then its series may go, and no sooner.
func TestEnded(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]func(*member){
		"not stopped": func(e *member) { e.stopped = false },
		"in flight":   func(e *member) { e.inFlight = 1 },
		"queued":      func(e *member) { e.queue = make([]*delivery, 1) },
		"moving":      func(e *member) { e.moving = 1 },
		"settling":    func(e *member) { e.metrics.settling.Add(1) },
	} {
		e := &member{stopped: true}
		if !e.ended() {
			t.Fatal("one without anything has not ended")
		}
		if busy(e); e.ended() {
			t.Errorf("%s: it has ended", name)
		}
	}
}
