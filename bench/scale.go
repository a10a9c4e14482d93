package main

import (
	"context"
	"fmt"
	"time"
)

// scaleResult is what many endpoints cost.
type scaleResult struct {
	Idle   idleResult   `json:"idle"`
	Active activeResult `json:"active"`
	Wide   wideResult   `json:"wide"`
}

// idleResult is a gateway with many endpoints and nothing to do.
type idleResult struct {
	Endpoints   int     `json:"endpoints"`
	LoadMillis  float64 `json:"load_ms"`      // reading and checking the configuration
	LoadCPU     float64 `json:"load_cpu_ms"`  // CPU time of that
	StartMillis float64 `json:"start_ms"`     // from there until it takes events
	RSS         int64   `json:"rss"`          // bytes, resident after the wait
	CPUPercent  float64 `json:"cpu_percent"`  // of one core, while it waits
	ScrapeMs    float64 `json:"scrape_ms"`    // one look at the metrics
	ScrapeBytes int     `json:"scrape_bytes"` // how much that is
}

// activeResult compares many active endpoints with one.
type activeResult struct {
	Endpoints int          `json:"endpoints"`
	Tier      string       `json:"tier"`
	Pairs     []activePair `json:"pairs"`
	Ratio     float64      `json:"ratio"` // median over the pairs: many by one
}

type activePair struct {
	One  figures `json:"one"`
	Many figures `json:"many"`
}

// wideResult is one event to many endpoints, several times.
type wideResult struct {
	Endpoints int     `json:"endpoints"`
	Tier      string  `json:"tier"`
	FirstMs   float64 `json:"first_ms"` // PubAck to the last arrival, of the first event: all connections are opened
	Later     spread  `json:"later"`    // the same of the later events
	faults
}

// scaleSetup is what is measured.
type scaleSetup struct {
	setup
	Configured int // endpoints of the idle gateway
	Active     int // endpoints of the busy one
	Settle     time.Duration
	Pairs      int
	Wide       int // events, each to all of the active endpoints
}

// defaults are what a run without flags measures.
func (s *scaleSetup) defaults() {
	s.setup = setup{Events: 50_000, Size: 1024, InFlight: 64, Tier: "fsync", Timeout: 3 * time.Minute, Scrape: time.Second}
	s.Configured, s.Active, s.Settle, s.Pairs, s.Wide = 10_000, 1000, 10*time.Second, 5, 20
}

func scaleCommand(ctx context.Context, args []string) error {
	f := newFlags("scale")
	var s scaleSetup
	s.defaults()
	f.common(&s.setup, s.Timeout)
	f.IntVar(&s.Events, "n", s.Events, "events to drain")
	f.IntVar(&s.Size, "size", s.Size, "bytes of an event")
	f.StringVar(&s.Tier, "tier", s.Tier, "durability: fsync, or a sync interval")
	f.IntVar(&s.Configured, "configured", s.Configured, "endpoints and subscriptions of the gateway that idles")
	f.IntVar(&s.Active, "active", s.Active, "endpoints that are compared with one, and that get one event")
	f.DurationVar(&s.Settle, "settle", s.Settle, "how long the gateway idles before its memory is read, and again for its CPU")
	f.IntVar(&s.Pairs, "pairs", s.Pairs, "pairs of runs, one endpoint and many")
	f.IntVar(&s.Wide, "wide", s.Wide, "events, one after the other, that go to all of the active endpoints")
	if err := f.parse(args); err != nil {
		return err
	}
	r := newReport()
	err := r.scale(ctx, s)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

func (r *report) scale(ctx context.Context, s scaleSetup) error {
	fmt.Println("Many endpoints.", r.Machine)
	var result scaleResult
	r.Scale = &result
	var err error
	if result.Idle, err = idle(ctx, s); err != nil {
		return err
	}
	i := result.Idle
	fmt.Printf("%d endpoints and subscriptions: loaded in %.0f ms (CPU %.0f ms), started in %.0f ms; idle %s MiB, %.1f %% of a core; metrics %.0f ms, %s MiB\n",
		i.Endpoints, i.LoadMillis, i.LoadCPU, i.StartMillis, megabytes(i.RSS), i.CPUPercent, i.ScrapeMs, megabytes(int64(i.ScrapeBytes)))

	var bad faults
	result.Active = activeResult{Endpoints: s.Active, Tier: s.Tier}
	for i := range s.Pairs {
		var p activePair
		measure := func(endpoints int, f *figures) func() error {
			return func() (err error) {
				*f, err = drain(ctx, gatewayKind, s.setup, evenPlan(endpoints, 1, s.InFlight))
				return err
			}
		}
		if err := inTurn(i, measure(1, &p.One), measure(s.Active, &p.Many)); err != nil {
			return err
		}
		bad.add(p.One.faults)
		bad.add(p.Many.faults)
		fmt.Printf("%d events, %s: one endpoint %.0f/s, %d active endpoints %.0f/s, ratio %.2f\n",
			s.Events, s.Tier, p.One.PerSecond, s.Active, p.Many.PerSecond, p.Many.PerSecond/p.One.PerSecond)
		result.Active.Pairs = append(result.Active.Pairs, p)
	}
	if s.Pairs > 0 {
		result.Active.Ratio = median(result.Active.Pairs, func(p activePair) float64 { return p.Many.PerSecond / p.One.PerSecond })
		fmt.Printf("median ratio %.2f\n", result.Active.Ratio)
	}

	if s.Wide > 0 {
		if result.Wide, err = wide(ctx, s); err != nil {
			return err
		}
		bad.add(result.Wide.faults)
		fmt.Printf("one event to %d endpoints, %s: the last after %.0f ms the first time, then p50 %.0f ms, max %.0f ms\n",
			s.Active, s.Tier, result.Wide.FirstMs, result.Wide.Later.P50, result.Wide.Later.Max)
	}
	return bad.err()
}

// idle measures a gateway that has many endpoints and nothing to do.
func idle(ctx context.Context, s scaleSetup) (idleResult, error) {
	s.Events, s.Scrape = 0, 0
	w, err := open(ctx, gatewayKind, s.setup, evenPlan(s.Configured, 1, s.InFlight))
	if err != nil {
		return idleResult{}, err
	}
	defer w.close()
	g := w.runners[0]
	result := idleResult{
		Endpoints:   s.Configured,
		LoadMillis:  g.hello.Loading.Seconds() * 1e3,
		LoadCPU:     g.hello.LoadCPU * 1e3,
		StartMillis: g.hello.Start.Seconds() * 1e3,
	}
	if err := wait(ctx, time.Now().Add(s.Settle)); err != nil {
		return result, err
	}
	before, began := cpuOf(g.pid), time.Now()
	if err := wait(ctx, began.Add(s.Settle)); err != nil {
		return result, err
	}
	result.CPUPercent = (cpuOf(g.pid) - before) / time.Since(began).Seconds() * 100
	result.RSS, _ = memory(g.pid)
	began = time.Now()
	text, err := get(ctx, "http://"+g.hello.Admin+"/metrics")
	if err != nil {
		return result, err
	}
	result.ScrapeMs, result.ScrapeBytes = time.Since(began).Seconds()*1e3, len(text)
	_, _, err = w.finish()
	return result, err
}

// wide measures how long one event takes to the last of many endpoints.
func wide(ctx context.Context, s scaleSetup) (wideResult, error) {
	s.Events, s.Times = 0, true
	p := evenPlan(1, s.Active, s.InFlight)
	result := wideResult{Endpoints: s.Active, Tier: s.Tier}
	w, err := open(ctx, gatewayKind, s.setup, p)
	if err != nil {
		return result, err
	}
	defer w.close()
	l := load{Accepted: make([][]int64, 1)}
	for n := range s.Wide {
		at, err := accept(ctx, w.js, 0, n, s.Size)
		if err != nil {
			return result, err
		}
		l.Accepted[0] = append(l.Accepted[0], at)
		if err := w.arrived(ctx, (n+1)*s.Active); err != nil {
			return result, err
		}
	}
	got, err := w.report(ctx)
	if err != nil {
		return result, err
	}
	result.faults = audit(p, l.counts(), got)
	last := make([]int64, s.Wide)
	for _, r := range got {
		for _, a := range r.Arrivals {
			last[a.Number] = max(last[a.Number], a.At)
		}
	}
	var later []time.Duration
	for n, at := range last {
		took := time.Duration(at - l.Accepted[0][n])
		if n == 0 {
			result.FirstMs = took.Seconds() * 1e3
			continue
		}
		later = append(later, took)
	}
	result.Later = spreadOf(later)
	_, _, err = w.finish()
	return result, err
}
