package gate

import (
	"slices"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// A verdict on an event neither counts as a failure nor ends the count of those.
func TestVerdictsAreNeutral(t *testing.T) {
	t.Parallel()
	for _, final := range []bool{false, true} {
		c := newGateClock(t, func(ep *endpoint.Settings) {
			if final {
				ep.DeadLetterOn = []int{422}
			}
		})
		for range 2 {
			c.want("a failure", c.try(answered(500)), 0)
			for range 20 {
				c.want("a verdict", c.try(answered(422)), 0)
			}
		}
		c.want("the third failure", c.try(answered(503)), Opened)
	}
}

// A probe that is refused for its event's sake is followed at once: by one
// attempt, then by more, but it takes a success to close the circuit.
func TestJudgedProbe(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.DeadLetterOn = []int{409} })
	c.open()
	c.pass(5 * time.Second)
	c.want("the probe", c.try(answered(500)), ProbeFailed)
	c.pass(10 * time.Second)
	c.want("the probe", c.try(answered(409)), Judged)
	c.wantState(endpoint.StateHalfOpen)
	if _, reason, _, _ := c.g.Status(c.now); reason != "a probe was refused with 409, which speaks of its event alone, up to 1 attempt at once" {
		t.Error(reason)
	}
	for _, want := range []int{1, 2, 4, 8, 8} {
		running := c.fill()
		if len(running) != want {
			t.Fatalf("%d at once, want %d", len(running), want)
		}
		for _, p := range running {
			c.want("a verdict", c.end(p, answered(422)), 0)
		}
	}
	c.wantState(endpoint.StateHalfOpen)
	c.want("a success", c.try(answered(200)), Closed)
}

// What fails among the verdicts does not open it again, unless it is all that
// comes; the waits begin anew then, for the endpoint has judged enough.
func TestJudgedHalfOpenFalls(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.open()
	for range 4 {
		c.pass(time.Minute)
		c.want("the probe", c.try(answered(500)), ProbeFailed)
	}
	c.pass(time.Minute)
	c.want("the probe", c.try(answered(422)), Judged)
	for range 10 {
		c.want("a failure", c.try(answered(500)), 0)
		c.want("a verdict", c.try(answered(422)), 0)
	}
	c.falls(503)
	if wait := c.refused(); wait != 10*time.Second {
		t.Errorf("the next probe in %v", wait)
	}
}

// A verdict that somebody else brings, who began before, changes nothing.
func TestOldVerdictChangesNothing(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	old := c.begin()
	c.open()
	c.pass(5 * time.Second)
	probe := c.begin()
	c.want("an old verdict", c.end(old, answered(422)), 0)
	c.wantState(endpoint.StateOpen)
	c.want("the probe", c.end(probe, broke(outcome.ClassConnect)), ProbeFailed)
}

func TestPassedOver(t *testing.T) {
	t.Parallel()
	for refused, want := range map[int]int{0: 0, 1: 1, 2: 3, 3: 7, 6: 63, 7: 63, 1000: 63} {
		if got := passedOver(refused); got != want {
			t.Errorf("after %d: %d, want %d", refused, got, want)
		}
	}
}

// Which statuses speak of the event, and so open no circuit; all others do.
func TestStatusesThatSpeakOfTheEvent(t *testing.T) {
	t.Parallel()
	ofEndpoint := []int{401, 402, 403, 404, 405, 407, 408, 410, 411, 414, 417, 421, 423, 424, 425, 426, 429, 431, 451}
	for status := 100; status <= 999; status++ {
		if status >= 200 && status <= 299 {
			continue
		}
		c := newGateClock(t, func(ep *endpoint.Settings) { ep.DeadLetterOn = nil })
		var changes Change
		for range 50 {
			changes |= c.g.Done(c.now, c.begin(), answered(status), false, "msg_1") &^ SaidGone
			c.out--
			c.pass(time.Hour)
		}
		want := status < 400 || status > 499 || slices.Contains(ofEndpoint, status)
		if opened := changes.Has(Opened); opened != want {
			t.Errorf("%d opens the circuit: %v", status, opened)
		}
	}
}
