//go:build !race

package match

import "testing"

// Without a filter a match allocates nothing. (The race detector makes pools
// forget, so that there it does.)
func TestMatchAllocatesNothing(t *testing.T) {
	m := newMatcher(t, subscriptionsOf(1000, "")...)
	ev := &Event{Subject: "events.orders.42.paid", Data: kilobyte()}
	dst := make([]string, 0, 64)
	if n := testing.AllocsPerRun(100, func() { dst = m.Match(ev, dst[:0], nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(dst) != 10 {
		t.Errorf("%d endpoints", len(dst))
	}
}
