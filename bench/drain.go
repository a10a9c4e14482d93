package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// drainSetup is a row of the drain's table.
type drainSetup struct {
	setup
	Fanout    int `json:"fanout"`    // endpoints that get each event
	Endpoints int `json:"endpoints"` // in total; the events are spread evenly over them

	// Against is the bench program of another checkout, whose gateway stands in
	// the place of the bare loop.
	Against string `json:"against,omitempty"`
}

// pair is a run of each, one after the other.
type pair struct {
	Bare   figures `json:"bare"` // or of the other build
	Fanjet figures `json:"fanjet"`
}

// drainResult is what the pairs of one setup found.
type drainResult struct {
	drainSetup
	Pairs []pair `json:"pairs"`

	// Medians. A ratio is the median of the ratios of the pairs.
	Bare, Fanjet float64 `json:"-"`
	Ratio        float64 `json:"ratio"`
	CPURatio     float64 `json:"cpu_ratio"`
}

func drainCommand(ctx context.Context, args []string) error {
	f := newFlags("drain")
	var s setup
	f.common(&s, 5*time.Minute)
	f.IntVar(&s.Events, "n", 50_000, "events to drain")
	pairs := f.Int("pairs", 5, "pairs of runs, bare loop and Fanjet, for each row")
	t, fanouts, sizes := tiers{"fsync", "1s"}, numbers{1, 10}, numbers{1024}
	endpoints, replicas := numbers{0}, numbers{0}
	against := ""
	f.against(&against)
	f.Var(&t, "tiers", "durability tiers: fsync, or a sync interval")
	f.Var(&fanouts, "fanout", "endpoints that get each event")
	f.Var(&sizes, "sizes", "bytes of an event")
	f.Var(&endpoints, "endpoints", "active endpoints in total, at least the fan-out; 0: as many as the fan-out")
	f.Var(&replicas, "replicas", "gateway processes beside a separate NATS server; 0: one, with the server inside")
	f.StringVar(&s.Profile, "cpuprofile", "", "write a CPU profile of the latest Fanjet run to this `file`")
	if err := f.parse(args); err != nil {
		return err
	}
	var setups []drainSetup
	for _, fanout := range fanouts {
		for _, size := range sizes {
			for _, total := range endpoints {
				for _, count := range replicas {
					for _, tier := range t {
						row := drainSetup{setup: s, Fanout: max(1, fanout), Endpoints: max(total, fanout, 1), Against: against}
						row.Size, row.Replicas, row.Tier = max(size, minSize), count, tier
						setups = append(setups, row)
					}
				}
			}
		}
	}
	r := newReport()
	err := r.drain(ctx, setups, *pairs)
	if e := r.write(f.json); err == nil {
		err = e
	}
	return err
}

// drain measures every setup in pairs and prints a row for each pair and one
// for their medians.
func (r *report) drain(ctx context.Context, setups []drainSetup, pairs int) error {
	fmt.Println("Deliveries a second from a preloaded stream.", r.Machine)
	other := "bare/s"
	if len(setups) > 0 && setups[0].Against != "" {
		other = "other/s"
	}
	t := newTable(os.Stdout, 20, "durability", "fan-out", "endpoints", "bytes", "replicas",
		other, "fanjet/s", "ratio", "CPU s/10k", "fanjet", "ratio", "diverted", "missing", "repeated")
	var bad faults
	for _, s := range setups {
		result := drainResult{drainSetup: s}
		for i := range pairs {
			p, err := drainPair(ctx, s, i)
			if err != nil {
				return err
			}
			result.Pairs = append(result.Pairs, p)
			bad.add(p.Bare.faults)
			bad.add(p.Fanjet.faults)
			drainRow(t, s.Tier, s, []pair{p})
		}
		result.summarize()
		drainRow(t, s.Tier+" median", s, result.Pairs)
		r.Drain = append(r.Drain, result)
	}
	return bad.err()
}

// drainPair measures both. The bare loop has no fan-out: it drains as many
// events as Fanjet makes deliveries, spread over as many endpoints. Another
// build does what this one does.
func drainPair(ctx context.Context, s drainSetup, i int) (p pair, err error) {
	subjects := max(1, s.Endpoints/s.Fanout)
	even := evenPlan(subjects, s.Fanout, s.InFlight)
	other, kind, otherPlan := s.setup, gatewayKind, even
	other.Profile, other.variant = "", variant{Build: s.Against}
	if s.Against == "" {
		other.Events, kind, otherPlan = s.Events*s.Fanout, bareLoopKind, evenPlan(subjects*s.Fanout, 1, s.InFlight)
	}
	err = inTurn(i, func() (err error) {
		p.Bare, err = drain(ctx, kind, other, otherPlan)
		return err
	}, func() (err error) {
		p.Fanjet, err = drain(ctx, gatewayKind, s.setup, even)
		return err
	})
	return p, err
}

func (r *drainResult) summarize() {
	r.Bare = median(r.Pairs, func(p pair) float64 { return p.Bare.PerSecond })
	r.Fanjet = median(r.Pairs, func(p pair) float64 { return p.Fanjet.PerSecond })
	r.Ratio = median(r.Pairs, pair.ratio)
	r.CPURatio = median(r.Pairs, pair.cpuRatio)
}

func (p pair) ratio() float64    { return p.Fanjet.PerSecond / p.Bare.PerSecond }
func (p pair) cpuRatio() float64 { return p.Fanjet.CPUPer10k / p.Bare.CPUPer10k }

func drainRow(t *table, name string, s drainSetup, pairs []pair) {
	var f faults
	for _, p := range pairs {
		f.add(p.Bare.faults)
		f.add(p.Fanjet.faults)
	}
	t.row(name, strconv.Itoa(s.Fanout), strconv.Itoa(s.Endpoints), strconv.Itoa(s.Size), strconv.Itoa(s.Replicas),
		whole(median(pairs, func(p pair) float64 { return p.Bare.PerSecond })),
		whole(median(pairs, func(p pair) float64 { return p.Fanjet.PerSecond })),
		two(median(pairs, pair.ratio)),
		two(median(pairs, func(p pair) float64 { return p.Bare.CPUPer10k })),
		two(median(pairs, func(p pair) float64 { return p.Fanjet.CPUPer10k })),
		two(median(pairs, pair.cpuRatio)),
		whole(median(pairs, func(p pair) float64 { return float64(p.Fanjet.Diverted) })),
		strconv.Itoa(f.Missing), strconv.Itoa(f.Repeated+f.Strange))
}
