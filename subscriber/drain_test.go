package subscriber

import (
	"testing"
	"time"
)

// A line begins only when two looks in a row found nothing older: a delivery may have
// been on its way into the log at the first.
func TestTwoLooksEndADrain(t *testing.T) {
	t.Parallel()
	for looks, want := range map[string]bool{"": true, "1": true, "0": true, "00": false, "010": true, "0100": false, "00100": false} {
		e := &member{draining: true}
		for _, look := range looks {
			e.drained(look == '0')
		}
		if got := e.isDraining(); got != want {
			t.Errorf("after looks that found %q the line waits: %v", looks, got)
		}
	}
	inHand(t, asItIs, func(h *hand) {
		h.e.drainedOnce = true // of a time before
		ordered := h.e.target.Settings
		ordered.Ordered = true
		target := *h.e.target
		target.Settings = ordered
		h.e.configure(&target, time.Now())
		if h.e.drained(true); !h.e.isDraining() {
			t.Error("one look ended it")
		}
	})
}
