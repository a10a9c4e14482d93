package main

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	if got, want := spreadOf(took), (spread{Count: 100, P50: 50, P90: 90, P99: 99, Max: 100}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := spreadOf(took[:1]), (spread{Count: 1, P50: 1, P90: 1, P99: 1, Max: 1}); got != want {
		t.Errorf("of one: got %+v, want %+v", got, want)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("of none: got %+v", got)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		items []float64
		want  float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(test.items, func(v float64) float64 { return v }); got != test.want {
			t.Errorf("median of %v is %g, want %g", test.items, got, test.want)
		}
	}
}

// A ratio is the median of the ratios of the pairs, not the ratio of the
// medians: a machine whose speed drifts tells the same.
func TestRatioWithinPairs(t *testing.T) {
	t.Parallel()
	r := drainResult{Pairs: []pair{
		{Bare: figures{PerSecond: 1000, CPUPer10k: 1}, Fanjet: figures{PerSecond: 500, CPUPer10k: 2}},
		{Bare: figures{PerSecond: 10, CPUPer10k: 1}, Fanjet: figures{PerSecond: 6, CPUPer10k: 3}},
		{Bare: figures{PerSecond: 100, CPUPer10k: 1}, Fanjet: figures{PerSecond: 90, CPUPer10k: 1.5}},
	}}
	r.summarize()
	if r.Ratio != 0.6 || r.CPURatio != 2 || r.Bare != 100 || r.Fanjet != 90 {
		t.Errorf("%+v", r)
	}
}

func TestLoadMeasuresFromTheWarmup(t *testing.T) {
	t.Parallel()
	p := evenPlan(1, 1, 64)
	p.Targets = append(p.Targets, target{Name: "sick", Subject: 0, Behaves: behaveHang})
	began := time.Unix(100, 0)
	at := func(d time.Duration) int64 { return began.Add(d).UnixNano() }
	l := load{Began: began, Ended: began.Add(3 * time.Second), Accepted: [][]int64{{at(0), at(time.Second), at(2 * time.Second)}}}
	got := map[string]received{
		"s0-0": {Arrivals: []arrival{{0, at(2 * time.Second)}, {1, at(1500 * time.Millisecond)}, {2, at(4 * time.Second)}}},
		"sick": {Arrivals: []arrival{{1, at(2 * time.Second)}}},
	}
	from := began.Add(time.Second)
	if s := spreadOf(l.waits(p, got, from)); s.Count != 2 || s.P50 != 500 || s.Max != 2000 {
		t.Errorf("waits %+v", s)
	}
	// Two events arrived in the two seconds that count; one came after the load.
	if rate := l.rate(p, got, from); rate != 1 {
		t.Errorf("rate %g", rate)
	}
}
