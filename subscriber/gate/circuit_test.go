package gate

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// What counts as a failure of the endpoint, and what resets the count.
func TestCircuitCounts(t *testing.T) {
	t.Parallel()
	failure, neutral, success := 3, 0, 2 // failures needed after: two failures and that one
	for _, tt := range []struct {
		name string
		r    outcome.Result
		want int
	}{
		{"2xx", answered(299), success},
		{"1xx", answered(199), failure},
		{"3xx", answered(301), failure},
		{"4xx", answered(404), failure},
		{"429", asked(429, time.Nanosecond), failure},
		{"5xx", answered(503), failure},
		{"timeout", broke(outcome.ClassTimeout), failure},
		{"dns", broke(outcome.ClassDNS), failure},
		{"connect", broke(outcome.ClassConnect), failure},
		{"tls", broke(outcome.ClassTLS), failure},
		{"final status", answered(410), neutral},
		{"verdict on the event", answered(400), neutral},
		{"blocked", broke(outcome.ClassBlocked), neutral},
		{"local", broke(outcome.ClassLocal), neutral},
		{"interrupted", broke(outcome.ClassInterrupted), neutral},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, nil)
			c.try(answered(500))
			c.try(answered(500))
			got := c.try(tt.r)
			c.pass(time.Second)
			switch tt.want {
			case failure:
				c.want("the third failure", got, Opened)
			case neutral:
				c.want("neither", got, 0)
				c.want("the third failure", c.try(answered(500)), Opened)
			case success:
				c.want("a success", got, 0)
				c.open()
			}
		})
	}
}

func TestCircuitNeverOpens(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*endpoint.Settings){
		"switched off": func(ep *endpoint.Settings) { ep.Circuit.Failures = 0 },
		"ordered":      func(ep *endpoint.Settings) { ep.Ordered = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, change)
			for range 100 {
				c.want("a failure", c.try(answered(500)), 0)
			}
			c.wantState(endpoint.StateHealthy)
		})
	}
}

func TestProbesGrowApart(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil) // 5s, at most 1m
	c.open()
	opened := c.now
	for _, want := range []time.Duration{5, 10, 20, 40, 60, 60, 60} {
		if only, next := c.g.Probing(c.now); !only || next.Sub(c.now) != want*time.Second {
			t.Fatalf("%v, the next probe in %v, want %ds", only, next.Sub(c.now), want)
		}
		if wait := c.refused(); wait != want*time.Second {
			t.Fatalf("refused for %v, want %ds", wait, want)
		}
		c.pass(want*time.Second - 1)
		c.refused()
		c.pass(1)
		p := c.begin()
		if !p.probe {
			t.Fatal("no probe")
		}
		if wait := c.refused(); wait != 0 { // one at a time
			t.Fatalf("a second probe in %v", wait)
		}
		if only, next := c.g.Probing(c.now); !only || !next.IsZero() {
			t.Fatalf("%v, a second probe at %v", only, next)
		}
		c.pass(time.Second)
		c.want("a failed probe", c.end(p, broke(outcome.ClassTimeout)), ProbeFailed)
	}
	state, reason, since, next := c.g.Status(c.now)
	if state != endpoint.StateOpen || reason != "3 failed attempts in a row: 5xx: 500 Internal Server Error, then 7 failed probes: timeout: x" || !since.Equal(opened) || next.Sub(c.now) != time.Minute {
		t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
	}
}

func TestCircuitWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c      endpoint.Circuit
		misses int
		want   time.Duration
	}{
		{endpoint.Circuit{Probe: time.Second, MaxProbe: 4 * time.Second}, 2, 4 * time.Second},
		{endpoint.Circuit{Probe: time.Second, MaxProbe: 5 * time.Second}, 2, 4 * time.Second},
		{endpoint.Circuit{Probe: time.Second, MaxProbe: 5 * time.Second}, 3, 5 * time.Second},
		{endpoint.Circuit{Probe: time.Second, MaxProbe: 1<<63 - 1}, 1 << 40, 1<<63 - 1},
		{endpoint.Circuit{Probe: time.Minute, MaxProbe: time.Second}, 5, time.Minute}, // not below the first
		{endpoint.Circuit{}, 1 << 40, 0},
	} {
		if got := tt.c.Wait(tt.misses); got != tt.want {
			t.Errorf("%+v after %d: %v, want %v", tt.c, tt.misses, got, tt.want)
		}
	}
}

// Half-open admits two attempts, then twice as many each round trip.
func TestHalfOpenRamps(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil) // 8 slots
	c.open()
	c.pass(5 * time.Second)
	c.want("the probe", c.try(answered(500)), ProbeFailed)
	c.pass(10 * time.Second)
	c.want("the probe", c.try(answered(200)), HalfOpen)
	c.wantState(endpoint.StateHalfOpen)
	var closed bool
	for _, want := range []int{2, 4, 8} {
		running := c.fill()
		if len(running) != want {
			t.Fatalf("%d at once, want %d", len(running), want)
		}
		for _, p := range running {
			if p.probe {
				t.Error("a probe")
			}
			closed = c.end(p, answered(200)).Has(Closed) || closed
		}
	}
	if !closed {
		t.Error("not closed")
	}
	c.wantState(endpoint.StateHealthy)
	c.open() // and not one failure sooner
	if wait := c.refused(); wait != 5*time.Second {
		t.Errorf("the first probe comes in %v", wait)
	}
}

// With one or two slots there is nothing to ramp.
func TestHalfOpenEndsAtTheSlots(t *testing.T) {
	t.Parallel()
	for slots := 1; slots <= 3; slots++ {
		c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight = slots })
		c.open()
		c.pass(5 * time.Second)
		got := c.try(answered(200))
		if slots <= halfOpenLimit {
			c.want("the probe", got, Closed)
			continue
		}
		c.want("the probe", got, HalfOpen)
		c.want("one more", c.try(answered(200)), Closed)
	}
}

func TestHalfOpenFailureOpensAgain(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.open()
	for _, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if wait := c.refused(); wait != want*time.Second {
			t.Fatalf("the next probe in %v, want %ds", wait, want)
		}
		c.pass(want * time.Second)
		c.want("the probe", c.try(answered(200)), HalfOpen)
		c.falls(404)
	}
	if _, reason, since, _ := c.g.Status(c.now); reason != "failed again after a probe had got through: 4xx: 404 Not Found" || !since.Equal(c.now) {
		t.Errorf("%s, since %v", reason, since)
	}
}

// Attempts that began before the circuit opened may fail as they like, in
// whatever state they find it.
func TestOldFailuresChangeNothing(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight = 20 })
	var old []Permit
	for range 14 {
		old = append(old, c.begin())
	}
	c.open()
	failOld := func(n int) {
		t.Helper()
		for _, p := range old[:n] {
			c.want("an old failure", c.end(p, broke(outcome.ClassTimeout)), 0)
		}
		old = old[n:]
	}

	wait := c.refused()
	failOld(4)
	if c.refused() != wait {
		t.Error("moved the probe")
	}
	c.pass(wait)
	probe := c.begin()
	failOld(4)
	c.refused() // the probe is still out
	c.want("the probe", c.end(probe, answered(200)), HalfOpen)
	failOld(3)
	c.wantState(endpoint.StateHalfOpen)
	for !c.try(answered(200)).Has(Closed) {
	}
	failOld(3)
	c.wantState(endpoint.StateHealthy)
	c.open() // and not one failure sooner
}

// A success is good news whoever brings it.
func TestOldSuccessHalfOpens(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	old := c.begin()
	c.open()
	c.pass(5 * time.Second)
	probe := c.begin()
	c.want("an old success", c.end(old, answered(200)), HalfOpen)
	c.want("the probe, which is old now", c.end(probe, answered(500)), 0)
	c.wantState(endpoint.StateHalfOpen)
	if running := c.fill(); len(running) != halfOpenLimit {
		t.Errorf("%d at once", len(running))
	}
}

// A probe that says nothing is followed by another after the same wait.
func TestProbeUndecided(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]outcome.Result{"final status": answered(410), "blocked": broke(outcome.ClassBlocked)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, nil)
			c.open()
			c.pass(5 * time.Second)
			for range 2 {
				c.want("the probe", c.try(r), 0)
				if wait := c.refused(); wait != 5*time.Second {
					t.Fatalf("the next in %v", wait)
				}
				c.pass(5 * time.Second)
			}
		})
	}
}

// A probe that was not made leaves its place to another.
func TestProbeReleased(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 6, Per: time.Minute} })
	for range 3 {
		c.try(answered(500))
		c.pass(10 * time.Second)
	}
	for range 2 {
		p := c.begin()
		c.refused()
		c.g.Release(p, c.now)
		c.out--
	}
	for _, class := range []outcome.Class{outcome.ClassLocal, outcome.ClassInterrupted} {
		c.want("not made", c.try(broke(class)), 0)
	}
	c.want("the probe", c.try(answered(500)), ProbeFailed)
}

// falls fails until a half-open circuit opens again.
func (c *gateClock) falls(status int) {
	c.t.Helper()
	for range min(c.ep.Circuit.Failures, halfOpenFailures) - 1 {
		c.want("a failure", c.try(answered(status)), 0)
	}
	c.want("the last failure", c.try(answered(status)), Opened)
}

// A probe that is released late is none any more.
func TestOldProbeReleased(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	old := c.begin()
	c.open()
	c.pass(5 * time.Second)
	late := c.begin()
	c.want("an old success", c.end(old, answered(200)), HalfOpen)
	c.falls(500)
	c.pass(10 * time.Second)
	probe := c.begin()
	c.g.Release(late, c.now)
	c.out--
	if c.refused() != 0 {
		t.Error("two probes at once")
	}
	c.want("the probe", c.end(probe, answered(500)), ProbeFailed)
}

func TestConfigureOpenCircuit(t *testing.T) {
	t.Parallel()
	opened := func(t *testing.T) *gateClock {
		c := newGateClock(t, nil)
		c.open()
		c.pass(5 * time.Second)
		c.want("the probe", c.try(answered(500)), ProbeFailed) // the next in 10 s
		c.pass(2 * time.Second)
		return c
	}
	for _, tt := range []struct {
		name   string
		change func(*endpoint.Settings)
		want   time.Duration // to the next probe; 0: it is closed
	}{
		{"nothing", func(*endpoint.Settings) {}, 8 * time.Second},
		{"other settings", func(ep *endpoint.Settings) { ep.MaxInFlight, ep.Circuit.Failures = 1, 100 }, 8 * time.Second},
		{"longer", func(ep *endpoint.Settings) { ep.Circuit.Probe = 20 * time.Second }, 38 * time.Second},
		{"shorter", func(ep *endpoint.Settings) { ep.Circuit.Probe = 2 * time.Second }, 2 * time.Second},
		{"lower cap", func(ep *endpoint.Settings) { ep.Circuit.MaxProbe = 7 * time.Second }, 5 * time.Second},
		{"switched off", func(ep *endpoint.Settings) { ep.Circuit.Failures = 0 }, 0},
		{"ordered", func(ep *endpoint.Settings) { ep.Ordered = true }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := opened(t)
			tt.change(&c.ep)
			c.g.Configure(&c.ep, c.now)
			if tt.want == 0 {
				c.wantState(endpoint.StateHealthy)
				c.begin()
				return
			}
			if wait := c.refused(); wait != tt.want {
				t.Errorf("the next probe in %v, want %v", wait, tt.want)
			}
		})
	}

	t.Run("while the probe is out", func(t *testing.T) {
		t.Parallel()
		c := opened(t)
		c.pass(c.refused())
		p := c.begin()
		c.g.Configure(&c.ep, c.now)
		if c.refused() != 0 {
			t.Error("a second probe")
		}
		c.want("the probe", c.end(p, answered(200)), HalfOpen)
	})
}
