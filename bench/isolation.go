package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// isolationResult is what sick endpoints cost the healthy ones, in one tier.
type isolationResult struct {
	Tier    string          `json:"tier"`
	Healthy int             `json:"healthy"` // endpoints
	Sick    []string        `json:"sick"`    // how each of them behaves
	Rate    float64         `json:"rate"`    // events a second of each endpoint, under the steady load
	Events  int             `json:"events"`  // of each endpoint, in the preloaded drain
	Pairs   []isolationPair `json:"pairs"`

	// Medians of the runs under the steady load, each figure by itself.
	Without spread `json:"without"`
	With    spread `json:"with"`
	// Medians of the pairs: with the sick endpoints by without them.
	P50Ratio    float64 `json:"p50_ratio"`
	P99Ratio    float64 `json:"p99_ratio"`
	RateRatio   float64 `json:"rate_ratio"`   // throughput under the steady load
	DrainsRatio float64 `json:"drains_ratio"` // throughput of the preloaded drain

	Starved *starvedResult `json:"starved,omitempty"`
}

// isolationPair is a run without the sick endpoints and one with them, of each
// kind of load.
type isolationPair struct {
	Without     steadyRun `json:"without"`
	With        steadyRun `json:"with"`
	DrainsAlone figures   `json:"drain_without"`
	Drains      figures   `json:"drain_with"`
}

// isolationSetup is how the isolation is measured.
type isolationSetup struct {
	setup
	steadyLoad
	Healthy int
	Sick    []string
	Attempt time.Duration // timeout of an attempt
	Pairs   int
	Starved starvedSetup
}

// defaults are what a run without flags measures.
func (s *isolationSetup) defaults() {
	s.setup = setup{Size: 1024, InFlight: 64, Timeout: 3 * time.Minute, Scrape: time.Second}
	s.steadyLoad = steadyLoad{Rate: 40, Duration: 30 * time.Second, Warmup: 3 * time.Second}
	s.Healthy, s.Sick = 50, []string{behaveHang, behave500, behaveDrip}
	s.Events, s.Attempt, s.Pairs = 1000, 15*time.Second, 3
	s.Starved.defaults()
}

func isolationCommand(ctx context.Context, args []string) error {
	f := newFlags("isolation")
	var s isolationSetup
	s.defaults()
	f.common(&s.setup, s.Timeout)
	f.IntVar(&s.Size, "size", s.Size, "bytes of an event")
	f.IntVar(&s.Pairs, "pairs", s.Pairs, "pairs of runs, without and with the sick endpoints, for each tier")
	f.IntVar(&s.Healthy, "healthy", s.Healthy, "healthy endpoints")
	f.Float64Var(&s.Rate, "rate", s.Rate, "events a second for each endpoint, under the steady load")
	f.DurationVar(&s.Duration, "d", s.Duration, "how long a run under the steady load publishes")
	f.DurationVar(&s.Warmup, "warmup", s.Warmup, "how much of that is not measured")
	f.IntVar(&s.Events, "n", s.Events, "events for each endpoint in the preloaded drain; 0: no drain")
	f.DurationVar(&s.Attempt, "attempt", s.Attempt, "timeout of an attempt, which is how long one to a hanging endpoint lasts")
	f.Var((*words)(&s.Sick), "sick", "how the sick endpoints behave: hang, 500, drip, body; ok: not sick at all")
	f.IntVar(&s.Starved.Busy, "busy", s.Starved.Busy, "busy loops beside, for the rows on starved processors; 0: no such rows")
	f.IntVar(&s.Starved.Slow, "slow", s.Starved.Slow, "receivers that cannot keep up, on starved processors")
	f.Float64Var(&s.Starved.Rate, "starved-rate", s.Starved.Rate, "events a second, each to all receivers, on starved processors")
	f.DurationVar(&s.Starved.Duration, "starved-d", s.Starved.Duration, "how long a run on starved processors publishes")
	t := tiers{"fsync", "1s"}
	f.Var(&t, "tiers", "durability tiers: fsync, or a sync interval")
	if err := f.parse(args); err != nil {
		return err
	}
	r := newReport()
	err := r.isolation(ctx, s, t)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

// sickPlan has a subject for each endpoint: the healthy ones first.
func sickPlan(healthy int, sick []string, timeout time.Duration) plan {
	p := evenPlan(healthy, 1, defaultInFlight)
	p.Timeout = timeout
	for i, behaves := range sick {
		p.Targets = append(p.Targets, target{Name: fmt.Sprintf("sick%d-%s", i, behaves), Subject: p.Subjects, Behaves: behaves})
		p.Subjects++
	}
	return p
}

// isolation measures without and with the sick endpoints in turn. Without them
// their events are not published either: the load of the healthy ones is the
// same, and all that the sick ones cost counts.
func (r *report) isolation(ctx context.Context, s isolationSetup, t tiers) error {
	fmt.Printf("%d healthy endpoints beside %d sick ones (%s), each with %g events/s; ms from the PubAck to the healthy. %s\n",
		s.Healthy, len(s.Sick), strings.Join(s.Sick, ", "), s.Rate, r.Machine)
	table := newTable(os.Stdout, 20, "durability", "sick", "healthy/s", "p50", "p99", "max", "drained/s", "missing", "repeated")
	alone, beside := sickPlan(s.Healthy, nil, s.Attempt), sickPlan(s.Healthy, s.Sick, s.Attempt)
	var bad faults
	for _, tier := range t {
		s.Tier = tier
		result := isolationResult{Tier: tier, Healthy: s.Healthy, Sick: s.Sick, Rate: s.Rate, Events: s.Events}
		for i := range s.Pairs {
			var p isolationPair
			measure := func(sick string, in plan, run *steadyRun, drains *figures) func() error {
				return func() error {
					if err := s.measure(ctx, in, run, drains); err != nil {
						return err
					}
					f := run.faults
					f.add(drains.faults)
					bad.add(f)
					table.row(tier, sick, whole(run.PerSecond), two(run.Wait.P50), two(run.Wait.P99), two(run.Wait.Max),
						whole(drains.PerSecond), strconv.Itoa(f.Missing), strconv.Itoa(f.Repeated+f.Strange))
					return nil
				}
			}
			if err := inTurn(i, measure("no", alone, &p.Without, &p.DrainsAlone), measure("yes", beside, &p.With, &p.Drains)); err != nil {
				return err
			}
			result.Pairs = append(result.Pairs, p)
		}
		result.summarize()
		medianRows(table, tier, result.Without, result.With)
		table.row(tier+" ratio", "", two(result.RateRatio), two(result.P50Ratio), two(result.P99Ratio), "", two(result.DrainsRatio))
		if s.Starved.Busy > 0 {
			var err error
			if result.Starved, err = s.starved(ctx, table, &bad); err != nil {
				return err
			}
		}
		r.Isolation = append(r.Isolation, result)
	}
	return bad.err()
}

// measure makes the two runs of one row: under a steady load, and of a
// preloaded stream.
func (s isolationSetup) measure(ctx context.Context, p plan, run *steadyRun, drains *figures) (err error) {
	if *run, err = runSteady(ctx, gatewayKind, s.setup, p, s.steadyLoad); err != nil || s.Events == 0 {
		return err
	}
	preloaded := s.setup
	preloaded.Events *= p.Subjects
	*drains, err = drain(ctx, gatewayKind, preloaded, p)
	return err
}

// medianRows prints what the ratios are of.
func medianRows(t *table, name string, without, with spread) {
	t.row(name+" median", "no", "", two(without.P50), two(without.P99), two(without.Max))
	t.row(name+" median", "yes", "", two(with.P50), two(with.P99), two(with.Max))
}

func (r *isolationResult) summarize() {
	r.Without = medianSpread(r.Pairs, func(p isolationPair) spread { return p.Without.Wait })
	r.With = medianSpread(r.Pairs, func(p isolationPair) spread { return p.With.Wait })
	r.P50Ratio = median(r.Pairs, func(p isolationPair) float64 { return p.With.Wait.P50 / p.Without.Wait.P50 })
	r.P99Ratio = median(r.Pairs, func(p isolationPair) float64 { return p.With.Wait.P99 / p.Without.Wait.P99 })
	r.RateRatio = median(r.Pairs, func(p isolationPair) float64 { return p.With.PerSecond / p.Without.PerSecond })
	if r.Events > 0 {
		r.DrainsRatio = median(r.Pairs, func(p isolationPair) float64 { return p.Drains.PerSecond / p.DrainsAlone.PerSecond })
	}
}
