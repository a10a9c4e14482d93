package subscriber

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
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
	g   *gate
	ep  Endpoint
	now time.Time
	out int // attempts in flight

	events int // that got a final answer
}

func newGateClock(t testFailer, change func(*Endpoint)) *gateClock {
	ep := DefaultEndpoint()
	ep.MaxInFlight = 8
	ep.Circuit = Circuit{Failures: 3, Probe: 5 * time.Second, MaxProbe: time.Minute}
	if change != nil {
		change(&ep)
	}
	return &gateClock{t: t, g: newGate(&ep), ep: ep, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *gateClock) pass(d time.Duration) { c.now = c.now.Add(d) }

// begin begins an attempt, which must be admitted.
func (c *gateClock) begin() permit {
	c.t.Helper()
	p, ok, retry := c.g.admit(c.now, c.out)
	if !ok {
		state, reason, _, _ := c.g.status(c.now)
		c.t.Fatalf("refused until %v: %s, %s", retry, state, reason)
	}
	c.out++
	return p
}

// refused asks for an attempt, which must be refused, and returns in what time
// asking again may help; 0: it does not help.
func (c *gateClock) refused() time.Duration {
	c.t.Helper()
	_, ok, retry := c.g.admit(c.now, c.out)
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

func (c *gateClock) end(p permit, r Result) change {
	c.out--
	if final := slices.Contains(c.ep.DeadLetterOn, r.Status); final {
		c.events++
		return c.g.done(c.now, p, r, final, fmt.Sprint("msg_", c.events))
	}
	return c.g.done(c.now, p, r, false, "msg_x")
}

// try makes one attempt.
func (c *gateClock) try(r Result) change {
	c.t.Helper()
	return c.end(c.begin(), r)
}

// fill begins attempts until one is refused.
func (c *gateClock) fill() (permits []permit) {
	c.t.Helper()
	for {
		p, ok, _ := c.g.admit(c.now, c.out)
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
	c.want("the last failure", c.try(answered(500)), changeOpened)
}

func (c *gateClock) want(what string, got, want change) {
	c.t.Helper()
	if got != want {
		c.t.Fatalf("%s: changes %05b, want %05b", what, got, want)
	}
}

func (c *gateClock) wantState(want State) {
	c.t.Helper()
	if got, reason, _, _ := c.g.status(c.now); got != want {
		c.t.Fatalf("%s (%s), want %s", got, reason, want)
	}
}

func answered(status int) Result { return Result{Status: status, Class: statusClass(status)} }

func broke(class Class) Result { return Result{Class: class, Err: errors.New("x")} }

func asked(status int, wait time.Duration) Result {
	return Result{Status: status, Class: statusClass(status), RetryAfter: wait}
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
			c := newGateClock(t, func(ep *Endpoint) { ep.MaxInFlight, ep.Ordered = tt.slots, tt.ordered })
			running := c.fill()
			if len(running) != tt.want {
				t.Fatalf("%d at once, want %d", len(running), tt.want)
			}
			if wait := c.refused(); wait != 0 {
				t.Errorf("a free slot is announced for in %v", wait)
			}
			if c.g.barred(c.now) {
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
	c.g.configure(&c.ep, c.now)
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
	pause := &Pause{Since: c.now.Add(-time.Minute), By: "alice", Reason: "they migrate"}
	c.g.setPause(pause, c.now)
	pause.By = "somebody else" // the caller's copy is its own

	if wait := c.refused(); wait != 0 {
		t.Errorf("a pause ends by itself in %v", wait)
	}
	state, reason, since, next := c.g.status(c.now)
	if state != StatePaused || reason != "paused by alice: they migrate" || !since.Equal(pause.Since) || !next.IsZero() || !c.g.barred(c.now) {
		t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
	}
	c.want("an attempt that was running", c.end(running, answered(200)), 0)
	c.refused()
	c.g.configure(&c.ep, c.now)
	c.refused()
	c.g.setPause(nil, c.now)
	c.begin()
	c.wantState(StateHealthy)
}

// The operator's word counts at once: nothing from before a resume has a say.
func TestResumeStartsAfresh(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	old := []permit{c.begin(), c.begin(), c.begin(), c.begin()}
	c.open()
	c.pass(5 * time.Second)
	probe := c.begin()
	c.end(old[3], asked(503, time.Hour))
	c.g.setPause(&Pause{Since: c.now, By: "alice"}, c.now)
	c.g.setPause(nil, c.now)

	c.wantState(StateHealthy)
	if c.g.barred(c.now) {
		t.Error("barred")
	}
	for _, p := range old[:3] {
		c.want("an attempt from before", c.end(p, asked(503, time.Hour)), 0)
	}
	c.want("the probe from before", c.end(probe, answered(500)), 0)
	c.wantState(StateHealthy)
	c.open() // and not one failure sooner
}

// A resume of what is not paused is no word of anybody.
func TestResumeWithoutPause(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	c.open()
	c.g.setPause(nil, c.now)
	c.wantState(StateOpen)
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
	state, reason, since, next := c.g.status(c.now)
	if state != StateBackingOff || reason != "asked with Retry-After, status 503: nothing is sent until 2026-01-01T12:00:20Z" || !since.Equal(began) || !next.Equal(began.Add(20*time.Second)) || !c.g.barred(c.now) {
		t.Errorf("%s, %s, since %v, next %v", state, reason, since, next)
	}
	c.pass(c.refused())
	c.wantState(StateHealthy)
	c.begin()
}

// A wait that is prolonged is one wait; the next one is another.
func TestRetryAfterSince(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *Endpoint) { ep.Circuit.Failures = 0 })
	running := c.fill()
	for range 2 {
		began := c.now
		for _, r := range []Result{asked(503, 5*time.Second), asked(429, 20*time.Second)} {
			c.end(running[0], r)
			running = running[1:]
			_, reason, since, next := c.g.status(c.now)
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
	c.want("the third", c.try(asked(503, 20*time.Second)), changeOpened)
	want := c.now.Add(20 * time.Second)
	if only, next := c.g.probing(c.now); !only || !next.Equal(want) {
		t.Errorf("%v, next probe %v", only, next)
	}
	if state, _, _, next := c.g.status(c.now); state != StateOpen || !next.Equal(want) {
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
	c := newGateClock(t, func(ep *Endpoint) { ep.RateLimit = Rate{Count: 30, Per: time.Minute} })
	c.wantState(StateHealthy)
	c.try(answered(500))
	c.wantState(StateLimited)
	c.pass(2 * time.Second)
	c.try(asked(503, 3*time.Second))
	c.wantState(StateBackingOff)
	c.pass(3 * time.Second)
	c.try(answered(500))
	c.wantState(StateOpen)
	c.pass(5 * time.Second)
	c.want("the probe", c.try(asked(200, 3*time.Second)), changeHalfOpen)
	c.wantState(StateHalfOpen)
	c.g.setPause(&Pause{By: "alice"}, c.now)
	c.wantState(StatePaused)
}

func TestGateDoesNotAllocate(t *testing.T) {
	c := newGateClock(t, func(ep *Endpoint) { ep.RateLimit = Rate{Count: 1_000_000, Per: time.Second} })
	success := answered(200)
	if n := testing.AllocsPerRun(1000, func() {
		c.pass(time.Millisecond)
		c.try(success)
		if c.g.barred(c.now) {
			t.Error("barred")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a success", n)
	}
}

func BenchmarkGate(b *testing.B) {
	for name, limit := range map[string]Rate{"unlimited": {}, "limited": {Count: 1_000_000, Per: time.Second}} {
		b.Run(name, func(b *testing.B) {
			c := newGateClock(b, func(ep *Endpoint) { ep.RateLimit = limit })
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
	ep := DefaultEndpoint()
	ep.Circuit = Circuit{Failures: 1, Probe: time.Second, MaxProbe: time.Minute}
	g := newGate(&ep)
	attempt := func(class Class) {
		p, ok, _ := g.admit(now, 0)
		if !ok {
			t.Fatal("not admitted")
		}
		g.done(now, p, Result{Class: class, Status: 500}, false, "msg_1")
	}
	attempt(Class5xx)
	g.calm(now, 0)
	if !g.barred(now) {
		t.Fatal("an open circuit closed")
	}
	now = now.Add(time.Second)
	attempt(Class2xx)
	now = now.Add(2 * time.Second)
	g.calm(now, 3*time.Second)
	if !g.barred(now) {
		t.Error("it closed too soon")
	}
	now = now.Add(time.Second)
	g.calm(now, 3*time.Second)
	if g.barred(now) {
		t.Error("it is half-open still")
	}
}

// An endpoint that fails now and then is not down: half-open does not end with
// a single failure.
func TestGateStaysHalfOpenWithSingleFailures(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	ep := DefaultEndpoint()
	g := newGate(&ep)
	attempt := func(class Class) change {
		p, ok, _ := g.admit(now, 0)
		if !ok {
			t.Fatal("not admitted")
		}
		return g.done(now, p, Result{Class: class, Status: 500}, false, "msg_1")
	}
	for range ep.Circuit.Failures {
		attempt(Class5xx)
	}
	now = now.Add(ep.Circuit.Probe)
	attempt(Class2xx)
	for range ep.MaxInFlight {
		if c := attempt(Class5xx); c != 0 {
			t.Fatalf("a single failure changed %b", c)
		}
		if attempt(Class2xx).has(changeClosed) {
			for range halfOpenFailures {
				attempt(Class5xx)
			}
			if _, ok, _ := g.admit(now, 0); !ok {
				t.Error("a closed circuit opened too soon")
			}
			return
		}
	}
	t.Error("the circuit did not close")
}
