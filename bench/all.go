package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// allCommand makes every measurement, one after the other, and writes the JSON
// file after each, so that a run that is cut off has not been for nothing.
func allCommand(ctx context.Context, args []string) error {
	f := newFlags("all")
	pairs := f.Int("pairs", 5, "pairs of runs for each row")
	sweep := f.Int("sweep", 3, "pairs of runs for each point of the plot")
	n := f.Int("n", 50_000, "events to drain")
	backlog := f.Int("backlog", 1_000_000, "deliveries of the long backlog")
	t := tiers{"fsync", "1s"}
	f.Var(&t, "tiers", "durability tiers: fsync, or a sync interval")
	s := setup{Size: 1024, InFlight: 64, Timeout: 5 * time.Minute, Scrape: time.Second}
	f.variant(&s.variant)
	if err := f.parse(args); err != nil {
		return err
	}
	s.Events = *n
	isolation, scale, kills := isolationSetup{}, scaleSetup{}, killSetup{}
	isolation.defaults()
	scale.defaults()
	kills.defaults()
	isolation.Pairs, scale.Pairs, scale.Events, kills.Tiers = *pairs, *pairs, *n, tiers{t[0]}
	for _, other := range []*setup{&isolation.setup, &scale.setup, &kills.setup} {
		other.variant = s.variant
	}
	long := s
	long.Events, long.Timeout = *backlog, 20*time.Minute

	r := newReport()
	var err error
	for _, step := range []func() error{
		func() error { return r.drain(ctx, promised(s, t), *pairs) },
		func() error {
			return r.latency(ctx, s, t, steadyLoad{Rate: 100, Duration: 20 * time.Second, Warmup: 2 * time.Second}, *pairs, "")
		},
		func() error { return r.isolation(ctx, isolation, t) },
		func() error { return r.scale(ctx, scale) },
		func() error { return r.backlog(ctx, long, tiers{t[0]}, numbers{0, 1}, []variant{s.variant}) },
		func() error { return r.kill(ctx, kills) },
		func() error { return r.drain(ctx, sweeps(s, t), *sweep) },
	} {
		if ctx.Err() != nil {
			break
		}
		err = errors.Join(err, step(), r.write(f.json))
		fmt.Println()
	}
	return err
}

// promised are the setups that have targets.
func promised(s setup, t tiers) []drainSetup {
	var rows []drainSetup
	for _, fanout := range []int{1, 10} {
		for _, tier := range t {
			row := drainSetup{setup: s, Fanout: fanout, Endpoints: fanout}
			row.Tier = tier
			rows = append(rows, row)
		}
	}
	return rows
}

// sweeps are the points of the plot: one thing changes, the rest stays. The
// number of deliveries stays too, unless that would be a lot of bytes.
func sweeps(s setup, t tiers) []drainSetup {
	const most = 512 * mib
	var rows []drainSetup
	add := func(change func(*drainSetup)) {
		for _, tier := range t {
			row := drainSetup{setup: s, Fanout: 1, Endpoints: 1}
			row.Tier = tier
			change(&row)
			row.Endpoints = max(row.Endpoints, row.Fanout)
			row.Events = min(s.Events, most/row.Size) / row.Fanout
			rows = append(rows, row)
		}
	}
	for _, endpoints := range []int{10, 100, 1000} {
		add(func(row *drainSetup) { row.Endpoints = endpoints })
	}
	for _, fanout := range []int{2, 10, 50} {
		add(func(row *drainSetup) { row.Fanout = fanout })
	}
	for _, size := range []int{256, 4096, 16_384, 65_536} {
		add(func(row *drainSetup) { row.Size = size })
	}
	for _, replicas := range []int{1, 2, 4} {
		add(func(row *drainSetup) { row.Replicas = replicas })
	}
	return rows
}
