package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// panel is one of the small plots: throughput over one thing that changes.
type panel struct {
	title string
	x     []int // what was measured, ascending
	lines []line
}

// line is the throughput of one program in one durability tier.
type line struct {
	tier int // index among the tiers, which is its colour
	bare bool
	name string
	y    map[int]float64 // deliveries a second
}

// axis is something that may change from one row of a drain to the next.
type axis struct {
	title string
	of    func(drainSetup) int
	// plain reports whether all but this is as in the simplest setup.
	plain func(drainSetup) bool
}

func axes() []axis {
	const size = 1024
	return []axis{
		{
			title: "active endpoints",
			of:    func(s drainSetup) int { return s.Endpoints },
			plain: func(s drainSetup) bool { return s.Fanout == 1 && s.Size == size && s.Replicas == 0 },
		},
		{
			title: "fan-out: endpoints that get each event",
			of:    func(s drainSetup) int { return s.Fanout },
			plain: func(s drainSetup) bool { return s.Endpoints == s.Fanout && s.Size == size && s.Replicas == 0 },
		},
		{
			title: "bytes of an event",
			of:    func(s drainSetup) int { return s.Size },
			plain: func(s drainSetup) bool { return s.Endpoints == 1 && s.Fanout == 1 && s.Replicas == 0 },
		},
		{
			title: "processes beside a separate NATS server",
			of:    func(s drainSetup) int { return s.Replicas },
			plain: func(s drainSetup) bool { return s.Endpoints == 1 && s.Fanout == 1 && s.Size == size && s.Replicas > 0 },
		},
	}
}

// panels sorts the results of drains into plots. Pairs that were measured with
// the same setup, whatever the number of events, are put together; comparisons
// with another build are left out.
func panels(results []drainResult) []panel {
	results = slices.DeleteFunc(slices.Clone(results), func(r drainResult) bool { return r.Against != "" || r.Build != "" })
	var names []string
	for _, r := range results {
		if !slices.Contains(names, r.Tier) {
			names = append(names, r.Tier)
		}
	}
	var all []panel
	for _, a := range axes() {
		p := panel{title: a.title}
		for i, tier := range names {
			found := make(map[int][]pair)
			for _, r := range results {
				if r.Tier == tier && a.plain(r.drainSetup) {
					found[a.of(r.drainSetup)] = append(found[a.of(r.drainSetup)], r.Pairs...)
				}
			}
			bare := line{tier: i, bare: true, name: "bare loop, " + tier, y: make(map[int]float64)}
			fanjet := line{tier: i, name: "Fanjet, " + tier, y: make(map[int]float64)}
			for x, pairs := range found {
				bare.y[x] = median(pairs, func(p pair) float64 { return p.Bare.PerSecond })
				fanjet.y[x] = median(pairs, func(p pair) float64 { return p.Fanjet.PerSecond })
				if !slices.Contains(p.x, x) {
					p.x = append(p.x, x)
				}
			}
			p.lines = append(p.lines, fanjet, bare)
		}
		slices.SortFunc(p.x, cmp.Compare[int])
		if len(p.x) > 1 {
			all = append(all, p)
		}
	}
	return all
}

// short writes a number as people do on axes: 16384 as 16Ki if it is a size,
// else 20000 as 20k.
func short(v float64, binary bool) string {
	switch {
	case binary && v >= 1024 && int(v)%1024 == 0:
		return strconv.Itoa(int(v)/1024) + " Ki"
	case !binary && v >= 1000:
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprintf("%g", v)
}
