package gate

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"pgregory.net/rapid"
)

func TestRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate     endpoint.Rate
		burst    int
		interval time.Duration
	}{
		{endpoint.Rate{Count: 100, Per: time.Second}, 100, 10 * time.Millisecond},
		{endpoint.Rate{Count: 1, Per: time.Second}, 1, time.Second},
		{endpoint.Rate{Count: 600, Per: time.Minute}, 10, 100 * time.Millisecond},
		{endpoint.Rate{Count: 90, Per: time.Minute}, 1, time.Minute / 90},
		{endpoint.Rate{Count: 1, Per: time.Minute}, 1, time.Minute},
	} {
		c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight, ep.RateLimit = 1000, tt.rate })
		if got := len(c.fill()); got != tt.burst {
			t.Errorf("%v: a burst of %d, want %d", tt.rate, got, tt.burst)
		}
		for range 3 {
			wait := c.refused()
			if wait < tt.interval-2 || wait > tt.interval+2 { // rounding
				t.Errorf("%v: the next in %v, want %v", tt.rate, wait, tt.interval)
			}
			c.pass(wait)
			if got := len(c.fill()); got != 1 {
				t.Errorf("%v: then %d", tt.rate, got)
			}
		}
		c.pass(time.Hour)
		if got := len(c.fill()); got != tt.burst {
			t.Errorf("%v: a burst of %d after an hour, want %d", tt.rate, got, tt.burst)
		}
	}
}

// A token is taken only for an attempt that nothing else forbids.
func TestRefusalsTakeNoToken(t *testing.T) {
	t.Parallel()
	for name, forbid := range map[string]func(*gateClock){
		"pause":       func(c *gateClock) { c.g.SetPause(&endpoint.Pause{By: "alice"}, c.now) },
		"slots":       func(c *gateClock) { c.out = 8 },
		"circuit":     func(c *gateClock) { c.g.circuit.open(c.now, cause{}, outcome.Result{}) },
		"Retry-After": func(c *gateClock) { c.g.hold.ask(c.now, asked(503, time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 5, Per: time.Second} })
			forbid(c)
			for range 20 {
				c.refused()
			}
			if got := c.g.rate.limiter.TokensAt(c.now); got != 5 {
				t.Errorf("%v tokens are left of 5", got)
			}
		})
	}
}

func TestReleaseGivesTheTokenBack(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 3, Per: time.Second} })
	running := c.fill()
	c.refused()
	for _, p := range running {
		c.g.Release(p, c.now)
		c.out--
	}
	if again := c.fill(); len(again) != len(running) {
		t.Errorf("%d of %d", len(again), len(running))
	}

	c.pass(time.Second) // full again: there is no room for more
	p := c.begin()
	c.pass(time.Second)
	c.g.Release(p, c.now)
	c.out = 0
	if got := len(c.fill()); got != 3 {
		t.Errorf("%d at once after a token came back to a full bucket", got)
	}
}

func TestConfigureRate(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.MaxInFlight = 1000 })
	set := func(r endpoint.Rate) {
		c.ep.RateLimit = r
		c.g.Configure(&c.ep, c.now)
	}
	unlimited := c.begin()

	set(endpoint.Rate{Count: 10, Per: time.Second})
	if got := len(c.fill()); got != 10 {
		t.Errorf("a new limit lets %d through", got)
	}
	c.g.Release(unlimited, c.now) // took no token and gives none back
	set(endpoint.Rate{Count: 10, Per: time.Second})
	c.refused() // the same limit grants nothing new
	set(endpoint.Rate{Count: 100, Per: time.Second})
	if wait := c.refused(); wait > 10*time.Millisecond+2 {
		t.Errorf("the next in %v", wait)
	}
	c.pass(time.Second)
	set(endpoint.Rate{Count: 60, Per: time.Minute})
	if got := len(c.fill()); got != 1 {
		t.Errorf("a lower limit lets %d through", got)
	}
	set(endpoint.Rate{})
	for range 500 {
		c.begin()
	}
	if c.g.Barred(c.now) {
		t.Error("barred without a limit")
	}
}

func TestLimitedStatus(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, func(ep *endpoint.Settings) { ep.RateLimit = endpoint.Rate{Count: 2, Per: time.Second} })
	c.begin()
	c.wantState(endpoint.StateHealthy)
	c.begin()
	began := c.now
	check := func() {
		t.Helper()
		state, reason, since, next := c.g.Status(c.now)
		if state != endpoint.StateLimited || reason != "rate_limit of 2/s is used up" || !since.Equal(began) || !next.After(c.now) || !c.g.Barred(c.now) {
			t.Errorf("%s, %s, since %v, next %v", state, reason, since.Sub(began), next.Sub(c.now))
		}
	}
	check() // nobody was refused yet
	for range 5 {
		c.pass(c.refused())
		c.wantState(endpoint.StateHealthy)
		c.begin()
		check() // one stretch, with a token in between
		c.out = 0
	}
	c.pass(time.Minute)
	c.fill()
	began = c.now
	check()
}

// Over no window there are more attempts than the burst and what the rate adds,
// even if the times that the gate is told are out of order.
func TestRateOverAnyWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := endpoint.Rate{
			Count: rapid.IntRange(1, 200).Draw(t, "count"),
			Per:   rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "per"),
		}
		var b bucket
		b.configure(limit, time.Time{})
		start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		b.clock(start)
		now := start
		var taken []time.Duration
		for _, step := range rapid.SliceOfN(rapid.IntRange(-50, 200), 1, 100).Draw(t, "milliseconds") {
			told := now.Add(time.Duration(step) * time.Millisecond)
			now = later(now, told)
			for range rapid.IntRange(1, 3).Draw(t, "asked") {
				token, next, ok := b.take(told)
				if !ok {
					if !next.After(now) {
						t.Fatalf("refused until %v, it is %v", next, now)
					}
					if rapid.Bool().Draw(t, "wait") {
						now, told = next, next
						if token, _, ok = b.take(told); !ok {
							t.Fatal("no token when it was to come")
						}
					}
				}
				if ok != token {
					t.Fatal("admitted without a token")
				}
				if ok {
					taken = append(taken, now.Sub(start))
				}
			}
		}
		perSecond := float64(limit.Count) / limit.Per.Seconds()
		for i := range taken {
			for j := i; j < len(taken); j++ {
				window := taken[j] - taken[i]
				if most := max(1, float64(int(perSecond))) + perSecond*window.Seconds() + 1e-6; float64(j-i+1) > most {
					t.Fatalf("%d in %v, at most %v", j-i+1, window, most)
				}
			}
		}
	})
}
