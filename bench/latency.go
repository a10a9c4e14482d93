package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// latencyResult is what the pairs of one durability tier found.
type latencyResult struct {
	Tier string  `json:"tier"`
	Size int     `json:"size"`
	Rate float64 `json:"rate"` // events a second
	// Against is the bench program of another checkout, whose gateway stands in
	// the place of the bare loop.
	Against string        `json:"against,omitempty"`
	Pairs   []latencyPair `json:"pairs"`
	Bare    spread        `json:"bare"`   // medians of the runs
	Fanjet  spread        `json:"fanjet"` // medians of the runs
}

// latencyPair is a run of each, one after the other.
type latencyPair struct {
	Bare   steadyRun `json:"bare"`
	Fanjet steadyRun `json:"fanjet"`
}

// steadyRun is what one run under a steady load found.
type steadyRun struct {
	PerSecond float64 `json:"per_second"` // deliveries to healthy endpoints
	Wait      spread  `json:"wait"`       // from the PubAck to the receiver
	faults
}

// steadyLoad is how a steady run is driven.
type steadyLoad struct {
	Rate     float64       // events a second of each subject
	Duration time.Duration // of the load
	Warmup   time.Duration // at its start, not measured
}

// runSteady measures how long events take while a steady load comes in.
func runSteady(ctx context.Context, kind string, s setup, p plan, by steadyLoad) (steadyRun, error) {
	s.Times, s.Events = true, 0
	w, err := open(ctx, kind, s, p)
	if err != nil {
		return steadyRun{}, err
	}
	defer w.close()
	l, err := steady(ctx, w.js, p.Subjects, by.Rate, s.Size, by.Duration)
	if err != nil {
		return steadyRun{}, err
	}
	want := 0
	for j, endpoints := range p.healthy() {
		want += endpoints * len(l.Accepted[j])
	}
	if err := w.arrived(ctx, want); err != nil {
		return steadyRun{}, err
	}
	got, err := w.report(ctx)
	if err != nil {
		return steadyRun{}, err
	}
	from := l.Began.Add(by.Warmup)
	run := steadyRun{
		PerSecond: l.rate(p, got, from),
		Wait:      spreadOf(l.waits(p, got, from)),
		faults:    audit(p, l.counts(), got),
	}
	_, _, err = w.finish()
	return run, err
}

func latencyCommand(ctx context.Context, args []string) error {
	f := newFlags("latency")
	var s setup
	f.common(&s, 2*time.Minute)
	f.IntVar(&s.Size, "size", 1024, "bytes of an event")
	pairs := f.Int("pairs", 3, "pairs of runs, bare loop and Fanjet, for each tier")
	by := steadyLoad{Warmup: 2 * time.Second}
	f.Float64Var(&by.Rate, "rate", 100, "events a second")
	f.DurationVar(&by.Duration, "d", 20*time.Second, "how long a run publishes")
	against := ""
	f.against(&against)
	t := tiers{"fsync", "1s"}
	f.Var(&t, "tiers", "durability tiers: fsync, or a sync interval")
	if err := f.parse(args); err != nil {
		return err
	}
	r := newReport()
	err := r.latency(ctx, s, t, by, *pairs, against)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

// latency measures every tier in pairs, at a steady rate to one endpoint: the
// bare loop, or another build, and Fanjet.
func (r *report) latency(ctx context.Context, s setup, t tiers, by steadyLoad, pairs int, against string) error {
	other, otherKind := "bare", bareLoopKind
	if against != "" {
		other, otherKind = "other", gatewayKind
	}
	fmt.Printf("From the PubAck to the receiver, in ms, at %g events/s. %s\n", by.Rate, r.Machine)
	table := newTable(os.Stdout, 16, "durability", "of", "p50", "p90", "p99", "max", "events", "missing", "repeated")
	var bad faults
	for _, tier := range t {
		s.Tier = tier
		result := latencyResult{Tier: tier, Size: s.Size, Rate: by.Rate, Against: against}
		theirs := s
		theirs.variant = variant{Build: against}
		for i := range pairs {
			var p latencyPair
			measure := func(kind, name string, s setup, to *steadyRun) func() error {
				return func() (err error) {
					if *to, err = runSteady(ctx, kind, s, evenPlan(1, 1, s.InFlight), by); err != nil {
						return err
					}
					bad.add(to.faults)
					latencyRow(table, tier, name, to.Wait, to.faults)
					return nil
				}
			}
			if err := inTurn(i, measure(otherKind, other, theirs, &p.Bare), measure(gatewayKind, "fanjet", s, &p.Fanjet)); err != nil {
				return err
			}
			result.Pairs = append(result.Pairs, p)
		}
		result.Bare = medianSpread(result.Pairs, func(p latencyPair) spread { return p.Bare.Wait })
		result.Fanjet = medianSpread(result.Pairs, func(p latencyPair) spread { return p.Fanjet.Wait })
		latencyRow(table, tier+" median", other, result.Bare, faults{})
		latencyRow(table, tier+" median", "fanjet", result.Fanjet, faults{})
		r.Latency = append(r.Latency, result)
	}
	return bad.err()
}

func latencyRow(t *table, tier, of string, s spread, f faults) {
	t.row(tier, of, two(s.P50), two(s.P90), two(s.P99), two(s.Max),
		strconv.Itoa(s.Count), strconv.Itoa(f.Missing), strconv.Itoa(f.Repeated+f.Strange))
}

// medianSpread is the median of each figure by itself.
func medianSpread[T any](runs []T, of func(T) spread) spread {
	pick := func(f func(spread) float64) float64 {
		return median(runs, func(r T) float64 { return f(of(r)) })
	}
	return spread{
		Count: int(pick(func(s spread) float64 { return float64(s.Count) })),
		P50:   pick(func(s spread) float64 { return s.P50 }),
		P90:   pick(func(s spread) float64 { return s.P90 }),
		P99:   pick(func(s spread) float64 { return s.P99 }),
		Max:   pick(func(s spread) float64 { return s.Max }),
	}
}
