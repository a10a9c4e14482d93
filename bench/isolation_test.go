package main

import (
	"bytes"
	"testing"
	"time"
)

func TestStarved(t *testing.T) {
	t.Parallel()
	s := isolationSetup{setup: small(), Attempt: 15 * time.Second, Pairs: 1}
	s.Starved = starvedSetup{Busy: 1, Slow: 2, steadyLoad: steadyLoad{Rate: 20, Duration: time.Second, Warmup: 100 * time.Millisecond}}
	var out bytes.Buffer
	var bad faults
	got, err := s.starved(t.Context(), newTable(&out, 20, "durability", "sick", "healthy/s", "p50", "p99", "max", "drained/s", "missing", "repeated"), &bad)
	if err != nil {
		t.Fatal(err)
	}
	if bad.total() != 0 || len(got.Pairs) != 1 || got.Pairs[0].Without.Wait.Count == 0 || got.Pairs[0].With.Wait.Count == 0 {
		t.Errorf("%+v, %+v", bad, got)
	}
	if got.Without != got.Pairs[0].Without.Wait || got.With != got.Pairs[0].With.Wait {
		t.Errorf("one pair is its own median: %+v", got)
	}
}

func TestStarvedRatiosAreWithByWithout(t *testing.T) {
	t.Parallel()
	run := func(p50, p99 float64) steadyRun { return steadyRun{Wait: spread{P50: p50, P99: p99}} }
	r := starvedResult{Pairs: []starvedPair{
		{Without: run(1, 10), With: run(2, 40)},
		{Without: run(10, 100), With: run(30, 500)},
		{Without: run(2, 20), With: run(8, 120)},
	}}
	r.summarize()
	if r.P50Ratio != 3 || r.P99Ratio != 5 || r.Without.P99 != 20 || r.With.P99 != 120 {
		t.Errorf("%+v", r)
	}
}

// The loops must end although nobody tells them to.
func TestBusyLoopsEndByThemselves(t *testing.T) {
	t.Parallel()
	loops := newBusyLoops(2, time.Millisecond)
	loops.running.Wait()
}

func TestBusyLoopsTakeAProcessor(t *testing.T) {
	t.Parallel()
	c, err := spawn(t.Context(), "busy", job{Loops: 1, Limit: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill()
	for cpuOf(c.pid) < 0.1 {
		if err := wait(t.Context(), time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.stop(); err != nil {
		t.Error(err)
	}
}

func TestSlowReceiversCannotKeepUp(t *testing.T) {
	t.Parallel()
	var s isolationSetup
	s.defaults()
	p := slowPlan(s.Starved.Slow, s.Attempt)
	if most := float64(p.MaxInFlight) / slowAnswer.Seconds(); most >= s.Starved.Rate {
		t.Errorf("%d at once make %g a second, enough for %g", p.MaxInFlight, most, s.Starved.Rate)
	}
	if slowAnswer >= s.Attempt {
		t.Errorf("an answer after %v is a failure, not slow: an attempt lasts %v", slowAnswer, s.Attempt)
	}
	if h := p.healthy(); len(h) != 1 || h[0] != 1 || len(p.Targets) != 1+s.Starved.Slow {
		t.Errorf("%+v", p)
	}
}
