package gate

import (
	"fmt"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// probed opens a circuit and lets it fail that many probes; the next one is due.
func (c *gateClock) probed(failures int) {
	c.t.Helper()
	c.open()
	for range failures {
		c.pass(c.refused())
		c.want("the probe", c.try(answered(500)), ProbeFailed)
	}
	c.pass(c.refused())
}

// A half-open circuit falls after as many failures in a row as it takes to open it,
// and after five at most: who is patient with an endpoint that is healthy need not be
// so with one that was down a moment ago.
func TestHalfOpenFallsAfterFive(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 5, 20: 5, 1000: 5} {
		c := newGateClock(t, func(ep *endpoint.Settings) { ep.Circuit.Failures = limit })
		c.probed(0)
		c.want("the probe", c.try(answered(200)), HalfOpen)
		c.try(answered(500))
		if limit > 1 {
			c.want("a success, which ends the count", c.try(answered(200)), 0)
			for range want - 1 {
				c.want(fmt.Sprintf("a failure, at a limit of %d", limit), c.try(answered(500)), 0)
			}
			c.want(fmt.Sprintf("the last failure, at a limit of %d", limit), c.try(answered(500)), Opened)
		}
		c.wantState(endpoint.StateOpen)
	}
}

// The waits between probes begin anew once an endpoint has shown that it is back: when
// its circuit closed, or eight attempts at once succeeded and not before.
func TestProbesBeginAnewOnceItIsBack(t *testing.T) {
	t.Parallel()
	const first, second = 5 * time.Second, 10 * time.Second // waits after no miss, and after the fall
	for name, test := range map[string]struct {
		slots     int
		probe     outcome.Result
		successes int
		verdicts  int
		want      time.Duration
	}{
		"a few successes":               {slots: 100, probe: answered(200), successes: 5, want: time.Minute},
		"successes up to the limit":     {slots: 100, probe: answered(200), successes: 6, want: second},
		"a few verdicts":                {slots: 100, probe: answered(422), verdicts: 6, want: time.Minute},
		"verdicts up to the limit":      {slots: 100, probe: answered(422), verdicts: 7, want: second},
		"verdicts up to the few slots":  {slots: 4, probe: answered(422), verdicts: 3, want: second},
		"fewer verdicts than the slots": {slots: 4, probe: answered(422), verdicts: 2, want: time.Minute},
	} {
		c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight = test.slots })
		c.probed(6)
		c.try(test.probe)
		for range test.successes {
			c.want(name, c.try(answered(200)), 0)
		}
		for range test.verdicts {
			c.want(name, c.try(answered(422)), 0)
		}
		c.falls(500)
		if wait := c.refused(); wait != test.want {
			t.Errorf("%s: the next probe in %v, want %v", name, wait, test.want)
		}
	}
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight = 3 })
	c.probed(6)
	c.want("the probe", c.try(answered(200)), HalfOpen)
	c.want("a success", c.try(answered(200)), Closed)
	c.open()
	if wait := c.refused(); wait != first {
		t.Errorf("after it was closed: the next probe in %v, want %v", wait, first)
	}
}

// A half-open circuit tells of a verdict only until something better is known.
func TestHalfOpenForgetsTheVerdict(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.probed(0)
	c.want("the probe", c.try(answered(422)), Judged)
	c.want("a success", c.try(answered(200)), 0)
	if _, reason, _, _ := c.g.Status(c.now); reason != "a probe got through, up to 2 attempts at once" {
		t.Error(reason)
	}
}
