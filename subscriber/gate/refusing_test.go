package gate

import (
	"fmt"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// final is an endpoint for which 404 and 422 are final, and 410.
func final(ep *endpoint.Settings) {
	ep.DeadLetterOn = []int{404, 410, 422}
	ep.Circuit = endpoint.Circuit{Failures: 1000, Probe: 5 * time.Second, MaxProbe: time.Second}
}

// refuse gives n more events a final answer.
func (c *gateClock) refuse(n int) {
	c.t.Helper()
	for i := range n {
		c.want(fmt.Sprint("final answer ", i), c.try(answered(404)), 0)
	}
}

// refusing makes the endpoint refuse.
func (c *gateClock) refusing() {
	c.t.Helper()
	c.refuse(RefusedEvents - 1)
	c.want("the last one", c.try(answered(404)), Refuses)
	c.wantState(endpoint.StateRefusing)
}

func TestRefusing(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		c := newGateClock(t, func(ep *endpoint.Settings) { final(ep); ep.Ordered = ordered })
		var before []Permit
		if !ordered {
			before = []Permit{c.begin(), c.begin(), c.begin()}
		}
		began := c.now
		c.refusing()
		if !c.g.Barred(c.now) {
			t.Error("the fast lane serves it")
		}
		c.out = 0 // those from before do not count
		for _, p := range before {
			c.want("a final answer from before", c.g.Done(c.now, p, answered(404), true, "msg_x"), 0)
		}
		for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			want *= time.Millisecond
			if only, next := c.g.Probing(c.now); !only || next.Sub(c.now) != want {
				t.Fatalf("%v, the next in %v, want %v", only, next.Sub(c.now), want)
			}
			if wait := c.refused(); wait != want {
				t.Fatalf("the next in %v, want %v", wait, want)
			}
			c.pass(want - 1)
			c.refused()
			c.pass(1)
			p := c.begin()
			if wait := c.refused(); wait != 0 {
				t.Fatalf("two at once, in %v", wait)
			}
			c.want("a final answer", c.end(p, answered(422)), 0)
		}
		state, reason, since, next := c.g.Status(c.now)
		if state != endpoint.StateRefusing || reason != "106 events in a row got a final answer, the latest 422: one delivery at a time until one is accepted" ||
			!since.Equal(began) || next.Sub(c.now) != time.Second {
			t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
		}
		c.pass(time.Second)
		c.want("a success", c.try(answered(204)), Accepts)
		c.wantState(endpoint.StateHealthy)
		c.refusing() // and not one event sooner
	}
}

// A success from before is as good as one of now.
func TestOldSuccessEndsRefusing(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, final)
	old := c.begin()
	c.refusing()
	c.want("an old success", c.end(old, answered(200)), Accepts)
	c.wantState(endpoint.StateHealthy)
}

// What counts: distinct events that got a final answer, whatever comes between
// except a 2xx.
func TestRefusingCounts(t *testing.T) {
	t.Parallel()
	other := map[string]outcome.Result{
		"500": answered(500), "timeout": broke(outcome.ClassTimeout), "connect": broke(outcome.ClassConnect), "400": answered(400), "429": answered(429), "301": answered(301),
		"blocked": broke(outcome.ClassBlocked), "local": broke(outcome.ClassLocal), "interrupted": broke(outcome.ClassInterrupted),
	}
	for name, r := range other {
		t.Run(name+" alone", func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, final)
			for range 3 * RefusedEvents {
				c.want("it", c.try(r), 0)
			}
			c.wantState(endpoint.StateHealthy)
		})
		t.Run(name+" between", func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, final)
			for range RefusedEvents - 1 {
				c.refuse(1)
				c.want("it", c.try(r), 0)
			}
			c.want("the last one", c.try(answered(422)), Refuses)
		})
	}
	t.Run("2xx between", func(t *testing.T) {
		t.Parallel()
		c := newGateClock(t, final)
		for range 3 {
			c.refuse(RefusedEvents - 1)
			c.want("a success", c.try(answered(200)), 0)
		}
		c.refusing()
	})
	t.Run("one event again and again", func(t *testing.T) {
		t.Parallel()
		c := newGateClock(t, final)
		for range 3 * RefusedEvents {
			c.want("it", c.g.Done(c.now, c.begin(), answered(404), true, "msg_same"), 0)
			c.out--
		}
		c.wantState(endpoint.StateHealthy)
		c.refuse(RefusedEvents - 2)
		c.want("the last one", c.try(answered(404)), Refuses)
	})
	t.Run("5xx that is final", func(t *testing.T) {
		t.Parallel()
		c := newGateClock(t, func(ep *endpoint.Settings) { final(ep); ep.DeadLetterOn = []int{500} })
		for range RefusedEvents - 1 {
			c.want("it", c.try(answered(500)), 0)
		}
		c.want("the last one", c.try(answered(500)), Refuses)
	})
}

// What is tried again does not lengthen the pause of one that refuses, and what
// was not made has none after it.
func TestRefusingAndOtherResults(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, final)
	c.refusing()
	c.pass(c.refused())
	for _, r := range []outcome.Result{answered(500), broke(outcome.ClassTimeout), answered(400), broke(outcome.ClassBlocked)} {
		c.want("it", c.try(r), 0)
		if wait := c.refused(); wait != firstPause {
			t.Fatalf("%s: the next in %v", r.Short(), wait)
		}
		c.pass(firstPause)
	}
	for _, r := range []outcome.Result{broke(outcome.ClassLocal), broke(outcome.ClassInterrupted)} {
		c.want("it", c.try(r), 0)
	}
	p := c.begin()
	c.g.Release(p, c.now)
	c.out--
	c.begin()
}

func TestRefusingSwitchedOff(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { final(ep); ep.Circuit.Failures = 0 })
	c.refuse(3 * RefusedEvents)
	c.wantState(endpoint.StateHealthy)
	if c.g.refusal.events != nil {
		t.Error("it is counted")
	}
	final(&c.ep)
	c.g.Configure(&c.ep, c.now)
	c.refusing()
	c.ep.Circuit.MaxProbe = 10 * time.Millisecond // not below the first pause
	c.g.Configure(&c.ep, c.now)
	if wait := c.refused(); wait != firstPause {
		t.Errorf("the next in %v", wait)
	}
	c.ep.Circuit.Failures = 0
	c.g.Configure(&c.ep, c.now)
	c.wantState(endpoint.StateHealthy)
}

// A circuit that is open, and an endpoint that refuses: both have to admit.
func TestRefusingBehindACircuit(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) {
		final(ep)
		ep.Circuit = endpoint.Circuit{Failures: 3, Probe: 5 * time.Second, MaxProbe: time.Minute}
	})
	c.refusing()
	for range 2 {
		c.pass(time.Minute)
		c.want("a failure", c.try(answered(500)), 0)
	}
	c.pass(time.Minute)
	c.want("the third", c.try(answered(500)), Opened)
	c.wantState(endpoint.StateOpen)
	if wait := c.refused(); wait != 5*time.Second {
		t.Errorf("the probe comes in %v", wait)
	}
	c.pass(5 * time.Second)
	c.want("a final answer that speaks of the endpoint", c.try(answered(404)), 0)
	c.wantState(endpoint.StateOpen)
	c.pass(time.Minute)
	c.want("a final answer that speaks of the event", c.try(answered(422)), Judged)
	c.wantState(endpoint.StateRefusing)
	if wait := c.refused(); wait != 4*firstPause {
		t.Errorf("the next in %v", wait)
	}
	c.pass(time.Minute)
	c.want("a success", c.try(answered(200)), Accepts)
	c.wantState(endpoint.StateHalfOpen)
}

// After a resume of an endpoint that refused, or that was gone, one delivery goes
// first, at once; with its 2xx all follow.
func TestOneGoesFirstAfterAResume(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refuses bool
		pause   endpoint.Pause
		first   bool
	}{
		"by an operator":          {false, endpoint.Pause{By: "ann"}, false},
		"by us, a line stands":    {false, endpoint.Pause{By: endpoint.PausedByFanjet, Blocked: "k"}, false},
		"by us, gone":             {false, endpoint.Pause{By: endpoint.PausedByFanjet}, true},
		"by an operator, refused": {true, endpoint.Pause{By: "ann"}, true},
	} {
		for _, failures := range []int{0, 10} {
			if tt.refuses && failures == 0 {
				continue
			}
			t.Run(fmt.Sprint(name, failures), func(t *testing.T) {
				t.Parallel()
				c := newGateClock(t, func(ep *endpoint.Settings) { final(ep); ep.Circuit.Failures = failures })
				if tt.refuses {
					c.refusing()
				}
				old := c.begin2()
				c.g.SetPause(&tt.pause, c.now)
				c.refused()
				c.g.SetPause(nil, c.now)
				if !tt.first {
					c.wantState(endpoint.StateHealthy)
					if n := len(c.fill()); n != 8-len(old) {
						t.Errorf("%d at once", n)
					}
					return
				}
				c.wantState(endpoint.StateRefusing)
				for range 2 {
					p := c.begin()
					if c.refused() != 0 {
						t.Error("a second one goes before the first is accepted")
					}
					c.want("410", c.end(p, answered(410)), 0)
					c.pass(c.refused())
				}
				for _, p := range old {
					c.want("a success from before the operator's word", c.end(p, answered(200)), 0)
				}
				c.wantState(endpoint.StateRefusing)
				c.want("a success", c.try(answered(200)), Accepts)
				if n := len(c.fill()); n != 8 {
					t.Errorf("%d at once", n)
				}
			})
		}
	}
}

// begin2 begins an attempt if it is admitted.
func (c *gateClock) begin2() []Permit {
	p, ok, _ := c.g.Admit(c.now, c.out)
	if !ok {
		return nil
	}
	c.out++
	return []Permit{p}
}

// A resume lifts what holds an endpoint that is not paused, and says what.
func TestLift(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trouble func(*gateClock)
		was     endpoint.State
		then    endpoint.State
	}{
		"nothing":     {func(*gateClock) {}, endpoint.StateHealthy, endpoint.StateHealthy},
		"failures":    {func(c *gateClock) { c.try(answered(500)) }, endpoint.StateHealthy, endpoint.StateHealthy},
		"Retry-After": {func(c *gateClock) { c.try(asked(429, time.Minute)) }, endpoint.StateBackingOff, endpoint.StateHealthy},
		"circuit":     {func(c *gateClock) { c.open() }, endpoint.StateOpen, endpoint.StateHealthy},
		"half-open":   {func(c *gateClock) { c.open(); c.pass(time.Minute); c.try(answered(200)) }, endpoint.StateHalfOpen, endpoint.StateHealthy},
		"both":        {func(c *gateClock) { c.open(); c.g.hold.ask(c.now, asked(429, time.Minute)) }, endpoint.StateOpen, endpoint.StateHealthy},
		"refusing":    {func(c *gateClock) { c.refusing(); c.pass(time.Second); c.try(answered(404)) }, endpoint.StateRefusing, endpoint.StateRefusing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, func(ep *endpoint.Settings) { ep.DeadLetterOn = []int{404} })
			old := c.begin()
			tt.trouble(c)
			was, reason, until := c.g.Lift(c.now)
			if was != tt.was || (reason == "") != (was == endpoint.StateHealthy) || was == endpoint.StateBackingOff && !until.Equal(c.now.Add(time.Minute)) {
				t.Errorf("%s, %q, until %v", was, reason, until)
			}
			c.wantState(tt.then)
			c.begin() // at once
			if again, _, _ := c.g.Lift(c.now); tt.then == endpoint.StateHealthy && again != endpoint.StateHealthy {
				t.Errorf("lifted twice: %s", again)
			}
			if was != endpoint.StateHealthy {
				c.want("an attempt from before", c.end(old, asked(503, time.Hour)), 0)
				c.wantState(tt.then)
			}
		})
	}
}
