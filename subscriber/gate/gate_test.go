package gate

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// testFailer is what tests, benchmarks and rapid have in common.
type testFailer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// gateClock drives a gate with a time of its own.
type gateClock struct {
	t   testFailer
	g   *Gate
	ep  endpoint.Settings
	now time.Time
	out int // attempts in flight

	events int // that got a final answer
}

func newGateClock(t testFailer, change func(*endpoint.Settings)) *gateClock {
	ep := endpoint.Default()
	ep.MaxInFlight = 8
	ep.Circuit = endpoint.Circuit{Failures: 3, Probe: 5 * time.Second, MaxProbe: time.Minute}
	if change != nil {
		change(&ep)
	}
	return &gateClock{t: t, g: New(&ep), ep: ep, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *gateClock) pass(d time.Duration) { c.now = c.now.Add(d) }

// begin begins an attempt, which must be admitted.
func (c *gateClock) begin() Permit {
	c.t.Helper()
	p, ok, retry := c.g.Admit(c.now, c.out)
	if !ok {
		state, reason, _, _ := c.g.Status(c.now)
		c.t.Fatalf("refused until %v: %s, %s", retry, state, reason)
	}
	c.out++
	return p
}

// refused asks for an attempt, which must be refused, and returns in what time
// asking again may help; 0: it does not help.
func (c *gateClock) refused() time.Duration {
	c.t.Helper()
	_, ok, retry := c.g.Admit(c.now, c.out)
	switch {
	case ok:
		c.t.Fatal("admitted")
		return 0
	case retry.IsZero():
		return 0
	case !retry.After(c.now):
		c.t.Fatalf("to be asked again %v ago", c.now.Sub(retry))
	}
	return retry.Sub(c.now)
}

func (c *gateClock) end(p Permit, r outcome.Result) Change {
	c.out--
	if final := slices.Contains(c.ep.DeadLetterOn, r.Status); final {
		c.events++
		return c.g.Done(c.now, p, r, final, fmt.Sprint("msg_", c.events))
	}
	return c.g.Done(c.now, p, r, false, "msg_x")
}

// try makes one attempt.
func (c *gateClock) try(r outcome.Result) Change {
	c.t.Helper()
	return c.end(c.begin(), r)
}

// fill begins attempts until one is refused.
func (c *gateClock) fill() (permits []Permit) {
	c.t.Helper()
	for {
		p, ok, _ := c.g.Admit(c.now, c.out)
		if !ok {
			return permits
		}
		c.out++
		permits = append(permits, p)
	}
}

// open makes the circuit open.
func (c *gateClock) open() {
	c.t.Helper()
	for range c.ep.Circuit.Failures - 1 {
		c.want("a failure", c.try(answered(500)), 0)
	}
	c.want("the last failure", c.try(answered(500)), Opened)
}

func (c *gateClock) want(what string, got, want Change) {
	c.t.Helper()
	if got != want {
		c.t.Fatalf("%s: changes %05b, want %05b", what, got, want)
	}
}

func (c *gateClock) wantState(want endpoint.State) {
	c.t.Helper()
	if got, reason, _, _ := c.g.Status(c.now); got != want {
		c.t.Fatalf("%s (%s), want %s", got, reason, want)
	}
}

func TestGateAdmitsSlots(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		slots   int
		ordered bool
		want    int
	}{
		"slots":   {4, false, 4},
		"one":     {1, false, 1},
		"ordered": {4, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight, ep.Ordered = tt.slots, tt.ordered })
			running := c.fill()
			if len(running) != tt.want {
				t.Fatalf("%d at once, want %d", len(running), tt.want)
			}
			if wait := c.refused(); wait != 0 {
				t.Errorf("a free slot is announced for in %v", wait)
			}
			if c.g.Barred(c.now) {
				t.Error("barred by slots alone")
			}
			c.want("a success", c.end(running[0], answered(200)), 0)
			c.begin()
		})
	}
}

func TestGateConfigureSlots(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	running := c.fill()
	c.ep.MaxInFlight = 2
	c.g.Configure(&c.ep, c.now)
	for _, p := range running[:6] {
		c.refused()
		c.end(p, answered(200))
	}
	c.refused()
	c.end(running[6], answered(200))
	c.begin()
}

func TestPause(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	running := c.begin()
	pause := &endpoint.Pause{Since: c.now.Add(-time.Minute), By: "alice", Reason: "they migrate"}
	c.g.SetPause(pause, c.now)
	pause.By = "somebody else" // the caller's copy is its own

	if wait := c.refused(); wait != 0 {
		t.Errorf("a pause ends by itself in %v", wait)
	}
	state, reason, since, next := c.g.Status(c.now)
	if state != endpoint.StatePaused || reason != "paused by alice: they migrate" || !since.Equal(pause.Since) || !next.IsZero() || !c.g.Barred(c.now) {
		t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
	}
	c.want("an attempt that was running", c.end(running, answered(200)), 0)
	c.refused()
	c.g.Configure(&c.ep, c.now)
	c.refused()
	c.g.SetPause(nil, c.now)
	c.begin()
	c.wantState(endpoint.StateHealthy)
}

// The operator's word counts at once: nothing from before a resume has a say.
func TestResumeStartsAfresh(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	old := []Permit{c.begin(), c.begin(), c.begin(), c.begin()}
	c.open()
	c.pass(5 * time.Second)
	probe := c.begin()
	c.end(old[3], asked(503, time.Hour))
	c.g.SetPause(&endpoint.Pause{Since: c.now, By: "alice"}, c.now)
	c.g.SetPause(nil, c.now)

	c.wantState(endpoint.StateHealthy)
	if c.g.Barred(c.now) {
		t.Error("barred")
	}
	for _, p := range old[:3] {
		c.want("an attempt from before", c.end(p, asked(503, time.Hour)), 0)
	}
	c.want("the probe from before", c.end(probe, answered(500)), 0)
	c.wantState(endpoint.StateHealthy)
	c.open() // and not one failure sooner
}

// A resume of what is not paused is no word of anybody.
func TestResumeWithoutPause(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.open()
	c.g.SetPause(nil, c.now)
	c.wantState(endpoint.StateOpen)
}

func TestRetryAfterHoldsTheEndpoint(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	first, second, third := c.begin(), c.begin(), c.begin()
	began := c.now
	c.end(first, asked(503, 20*time.Second))
	c.pass(time.Second)
	c.end(second, asked(429, 5*time.Second)) // sooner: the later one wins
	c.end(third, answered(200))              // does not shorten it

	if wait := c.refused(); wait != 19*time.Second {
		t.Errorf("held for %v", wait)
	}
	state, reason, since, next := c.g.Status(c.now)
	if state != endpoint.StateBackingOff || reason != "asked with Retry-After, status 503: nothing is sent until 2026-01-01T12:00:20Z" || !since.Equal(began) || !next.Equal(began.Add(20*time.Second)) || !c.g.Barred(c.now) {
		t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
	}
	c.pass(c.refused())
	c.wantState(endpoint.StateHealthy)
	c.begin()
}

// A wait that is prolonged is one wait; the next one is another.
func TestRetryAfterSince(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.Circuit.Failures = 0 })
	running := c.fill()
	for range 2 {
		began := c.now
		for _, r := range []outcome.Result{asked(503, 5*time.Second), asked(429, 20*time.Second)} {
			c.end(running[0], r)
			running = running[1:]
			_, reason, since, next := c.g.Status(c.now)
			if want := "asked with Retry-After, status " + strconv.Itoa(r.Status) + ": nothing is sent until " + next.Format(time.RFC3339); reason != want || !since.Equal(began) || !next.Equal(c.now.Add(r.RetryAfter)) {
				t.Errorf("%s, since %v, next %v", reason, since, next)
			}
			c.pass(time.Second)
		}
		c.pass(20 * time.Second)
	}
}

func TestRetryAfterIsClamped(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.try(asked(429, 48*time.Hour))
	if wait := c.refused(); wait != time.Hour {
		t.Errorf("held for %v", wait)
	}
}

// A probe waits for both the circuit and the endpoint's own wish.
func TestRetryAfterHoldsProbes(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.try(answered(500))
	c.try(answered(500))
	c.want("the third", c.try(asked(503, 20*time.Second)), Opened)
	want := c.now.Add(20 * time.Second)
	if only, next := c.g.Probing(c.now); !only || !next.Equal(want) {
		t.Errorf("%v, next probe %v", only, next)
	}
	if state, _, _, next := c.g.Status(c.now); state != endpoint.StateOpen || !next.Equal(want) {
		t.Errorf("%s, next %v", state, next)
	}
	c.pass(c.refused())
	if p := c.begin(); !p.probe || !c.now.Equal(want) {
		t.Errorf("%+v at %v", p, c.now)
	}
}

// What the gate says the changes of states are.
func TestGateStatusPrecedence(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 30, Per: time.Minute} })
	c.wantState(endpoint.StateHealthy)
	c.try(answered(500))
	c.wantState(endpoint.StateLimited)
	c.pass(2 * time.Second)
	c.try(asked(503, 3*time.Second))
	c.wantState(endpoint.StateBackingOff)
	c.pass(3 * time.Second)
	c.try(answered(500))
	c.wantState(endpoint.StateOpen)
	c.pass(5 * time.Second)
	c.want("the probe", c.try(asked(200, 3*time.Second)), HalfOpen)
	c.wantState(endpoint.StateHalfOpen)
	c.g.SetPause(&endpoint.Pause{By: "alice"}, c.now)
	c.wantState(endpoint.StatePaused)
}

func TestGateDoesNotAllocate(t *testing.T) {
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 1_000_000, Per: time.Second} })
	success := answered(200)
	if n := testing.AllocsPerRun(1000, func() {
		c.pass(time.Millisecond)
		c.try(success)
		if c.g.Barred(c.now) {
			t.Error("barred")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a success", n)
	}
}

func BenchmarkGate(b *testing.B) {
	for name, limit := range map[string]endpoint.Rate{"unlimited": {}, "limited": {Count: 1_000_000, Per: time.Second}} {
		b.Run(name, func(b *testing.B) {
			c := newGateClock(b, func(ep *endpoint.Settings) { ep.RateLimit = limit })
			success := answered(200)
			b.ReportAllocs()
			for b.Loop() {
				c.pass(time.Millisecond)
				c.try(success)
			}
		})
	}
}

// An endpoint that is back, but gets little, does not stay half-open for ever.
func TestGateClosesWhenNothingWaits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	ep := endpoint.Default()
	ep.Circuit = endpoint.Circuit{Failures: 1, Probe: time.Second, MaxProbe: time.Minute}
	g := New(&ep)
	attempt := func(class outcome.Class) {
		p, ok, _ := g.Admit(now, 0)
		if !ok {
			t.Fatal("not admitted")
		}
		g.Done(now, p, outcome.Result{Class: class, Status: 500}, false, "msg_1")
	}
	attempt(outcome.Class5xx)
	g.Calm(now, 0)
	if !g.Barred(now) {
		t.Fatal("an open circuit closed")
	}
	now = now.Add(time.Second)
	attempt(outcome.Class2xx)
	now = now.Add(2 * time.Second)
	g.Calm(now, 3*time.Second)
	if !g.Barred(now) {
		t.Error("it closed too soon")
	}
	now = now.Add(time.Second)
	g.Calm(now, 3*time.Second)
	if g.Barred(now) {
		t.Error("it is half-open still")
	}
}

// An endpoint that fails now and then is not down: half-open does not end with
// a single failure.
func TestGateStaysHalfOpenWithSingleFailures(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	ep := endpoint.Default()
	g := New(&ep)
	attempt := func(class outcome.Class) Change {
		p, ok, _ := g.Admit(now, 0)
		if !ok {
			t.Fatal("not admitted")
		}
		return g.Done(now, p, outcome.Result{Class: class, Status: 500}, false, "msg_1")
	}
	for range ep.Circuit.Failures {
		attempt(outcome.Class5xx)
	}
	now = now.Add(ep.Circuit.Probe)
	attempt(outcome.Class2xx)
	for range ep.MaxInFlight {
		if c := attempt(outcome.Class5xx); c != 0 {
			t.Fatalf("a single failure changed %b", c)
		}
		if attempt(outcome.Class2xx).Has(Closed) {
			for range halfOpenFailures {
				attempt(outcome.Class5xx)
			}
			if _, ok, _ := g.Admit(now, 0); !ok {
				t.Error("a closed circuit opened too soon")
			}
			return
		}
	}
	t.Error("the circuit did not close")
}
