package main

import (
	"context"
	"runtime"
	"strconv"
	"time"
)

// starvedResult is what receivers that cannot keep up cost a good one while
// other programs take the processors.
type starvedResult struct {
	Busy  int           `json:"busy"` // loops that run beside and do nothing else
	Slow  int           `json:"slow"` // receivers that cannot keep up
	Rate  float64       `json:"rate"` // events a second; each goes to all receivers
	Pairs []starvedPair `json:"pairs"`

	// Medians of the runs, each figure by itself, and of the ratios of the pairs.
	Without  spread  `json:"without"`
	With     spread  `json:"with"`
	P50Ratio float64 `json:"p50_ratio"`
	P99Ratio float64 `json:"p99_ratio"`
}

// starvedPair is the good receiver alone, and with the slow ones.
type starvedPair struct {
	Without steadyRun `json:"without"`
	With    steadyRun `json:"with"`
}

// starvedSetup is how that is measured.
type starvedSetup struct {
	steadyLoad
	Busy int // 0: not at all
	Slow int
}

func (s *starvedSetup) defaults() {
	s.steadyLoad = steadyLoad{Rate: 20, Duration: 20 * time.Second, Warmup: 3 * time.Second}
	s.Busy, s.Slow = 4*runtime.NumCPU(), 10
}

// slowPlan has one subject, which a good endpoint and the slow ones get.
func slowPlan(slow int, timeout time.Duration) plan {
	p := evenPlan(1, 1, defaultInFlight)
	p.Timeout = timeout
	for i := range slow {
		p.Targets = append(p.Targets, target{Name: "slow" + strconv.Itoa(i), Behaves: behaveSlow})
	}
	return p
}

// starved measures the good receiver without and with the slow ones in turn,
// the busy loops beside both.
func (s isolationSetup) starved(ctx context.Context, t *table, bad *faults) (*starvedResult, error) {
	result := &starvedResult{Busy: s.Starved.Busy, Slow: s.Starved.Slow, Rate: s.Starved.Rate}
	for i := range s.Pairs {
		var p starvedPair
		measure := func(slow int, name string, to *steadyRun) func() error {
			return func() (err error) {
				if *to, err = s.beside(ctx, slowPlan(slow, s.Attempt)); err != nil {
					return err
				}
				bad.add(to.faults)
				t.row(s.Tier+" starved", name, whole(to.PerSecond), two(to.Wait.P50), two(to.Wait.P99), two(to.Wait.Max),
					"", strconv.Itoa(to.Missing), strconv.Itoa(to.Repeated+to.Strange))
				return nil
			}
		}
		if err := inTurn(i, measure(0, "no", &p.Without), measure(s.Starved.Slow, "yes", &p.With)); err != nil {
			return nil, err
		}
		result.Pairs = append(result.Pairs, p)
	}
	result.summarize()
	medianRows(t, s.Tier+" starved", result.Without, result.With)
	t.row(s.Tier+" starved ratio", "", "", two(result.P50Ratio), two(result.P99Ratio))
	return result, nil
}

// beside makes a run while the busy loops take the processors.
func (s isolationSetup) beside(ctx context.Context, p plan) (steadyRun, error) {
	busy, err := spawn(ctx, "busy", job{Loops: s.Starved.Busy, Limit: s.Timeout})
	if err != nil {
		return steadyRun{}, err
	}
	run, err := runSteady(ctx, gatewayKind, s.setup, p, s.Starved.steadyLoad)
	if _, e := busy.stop(); err == nil {
		err = e
	}
	return run, err
}

func (r *starvedResult) summarize() {
	r.Without = medianSpread(r.Pairs, func(p starvedPair) spread { return p.Without.Wait })
	r.With = medianSpread(r.Pairs, func(p starvedPair) spread { return p.With.Wait })
	r.P50Ratio = median(r.Pairs, func(p starvedPair) float64 { return p.With.Wait.P50 / p.Without.Wait.P50 })
	r.P99Ratio = median(r.Pairs, func(p starvedPair) float64 { return p.With.Wait.P99 / p.Without.Wait.P99 })
}
