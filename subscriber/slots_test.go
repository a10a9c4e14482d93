package subscriber

import (
	"sync"
	"testing"
	"time"

	"fanjet/internal/intake"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
)

// noon is when everything happens.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// crowd is endpoints that share slots. Each wants as many as it can get.
type crowd struct {
	*testing.T
	slots *slots
	begun sync.WaitGroup
	holds map[*member][]*delivery
}

func newCrowd(t *testing.T, total int) *crowd {
	return &crowd{T: t, slots: newSlots(total), holds: map[*member][]*delivery{}}
}

// endpoint returns an endpoint with deliveries that wait.
func (c *crowd) endpoint(name string, waiting int) *member {
	settings := endpoint.Settings{Name: name, MaxInFlight: 10_000}
	e := &member{name: name, slots: c.slots, begun: &c.begun, fast: &fastLane{}, target: &attempt.Target{Settings: settings}, gate: gate.New(&settings)}
	e.wake = func() { c.Errorf("%s is woken by its timer", name) }
	for range waiting {
		e.queue = append(e.queue, &delivery{ep: e, msg: received(&intake.Message{}), lane: true})
	}
	return e
}

// pump starts what may start, and returns how many the endpoint has in flight.
func (c *crowd) pump(e *member) int {
	for d := e.start(noon); d != nil; d = e.start(noon) {
		c.holds[e] = append(c.holds[e], d)
	}
	return len(c.holds[e])
}

// end ends one attempt of an endpoint.
func (c *crowd) end(e *member) {
	held := c.holds[e]
	d := held[len(held)-1]
	c.holds[e] = held[:len(held)-1]
	e.finish(d, noon)
	c.slots.wake(func(other *member) { c.pump(other) })
}

func TestSlotsAreShared(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 100)
	greedy := c.endpoint("greedy", 1000)
	if n := c.pump(greedy); n != 80 {
		t.Errorf("one that is alone has %d of 100", n)
	}
	modest := c.endpoint("modest", 5)
	if n := c.pump(modest); n != 5 {
		t.Errorf("a modest one beside it has %d of 5", n)
	}
	second := c.endpoint("second", 1000)
	if n := c.pump(second); n == 0 {
		t.Error("another greedy one gets nothing")
	}
	// As attempts end, the two come to have the same.
	for range 200 {
		for _, e := range []*member{greedy, second} {
			if len(c.holds[e]) > 0 {
				c.end(e)
			}
		}
	}
	a, b := len(c.holds[greedy]), len(c.holds[second])
	if a < 35 || b < 35 || a+b+5 > 100 {
		t.Errorf("the greedy ones have %d and %d", a, b)
	}
	if c.slots.used != a+b+5 {
		t.Errorf("%d used, %d held", c.slots.used, a+b+5)
	}
}

// A slot that is put back goes to one that can use it, even if others were
// refused before it.
func TestFreedSlotGoesToWhoCanUseIt(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 8)
	var holders []*member
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		e := c.endpoint(name, 1)
		c.pump(e)
		holders = append(holders, e)
	}
	gone, paused, waiting := c.endpoint("gone", 1), c.endpoint("paused", 1), c.endpoint("waiting", 1)
	for _, e := range []*member{gone, paused, waiting} {
		if n := c.pump(e); n != 0 {
			t.Fatalf("%s has %d", e.name, n)
		}
	}
	gone.stop()
	paused.pause(&endpoint.Pause{}, noon)
	c.end(holders[0])
	if len(c.holds[waiting]) != 1 {
		t.Error("nobody gets the slot")
	}
	if c.slots.used != 8 {
		t.Errorf("%d used", c.slots.used)
	}
}

// An endpoint that may not begin anything is not in anybody's way.
func TestRefusedByTheGateHoldsNoSlot(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1)
	paused := c.endpoint("paused", 1)
	paused.pause(&endpoint.Pause{}, noon)
	if c.pump(paused); c.slots.used != 0 || len(c.slots.waiting) != 0 {
		t.Errorf("%d used, %d in line", c.slots.used, len(c.slots.waiting))
	}
	// And one that finds no slot keeps neither its token nor its place as the probe.
	holder, limited := c.endpoint("holder", 1), c.endpoint("limited", 1)
	limited.gate.Configure(&endpoint.Settings{MaxInFlight: 1, RateLimit: endpoint.Rate{Count: 1, Per: time.Hour}}, noon)
	c.pump(holder)
	if n := c.pump(limited); n != 0 {
		t.Fatalf("limited has %d", n)
	}
	if c.end(holder); len(c.holds[limited]) != 1 {
		t.Error("the one token is gone")
	}
}
