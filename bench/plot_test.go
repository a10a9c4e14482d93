package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPlotIsWellFormedAndComplete(t *testing.T) {
	t.Parallel()
	var results []drainResult
	for _, s := range sweeps(setup{Events: 1000, Size: 1024, InFlight: 64}, tiers{"fsync", "1s"}) {
		results = append(results, drainResult{drainSetup: s, Pairs: []pair{{Bare: figures{PerSecond: 30_000}, Fanjet: figures{PerSecond: 20_000}}}})
	}
	for _, s := range promised(setup{Events: 1000, Size: 1024, InFlight: 64}, tiers{"fsync", "1s"}) {
		results = append(results, drainResult{drainSetup: s, Pairs: []pair{{Bare: figures{PerSecond: 30_000}, Fanjet: figures{PerSecond: 20_000}}}})
	}
	all := panels(results)
	if len(all) != 4 {
		t.Fatalf("%d panels, want endpoints, fan-out, size and replicas", len(all))
	}
	points := 0
	for _, p := range all {
		for _, l := range p.lines {
			if len(l.y) != len(p.x) {
				t.Errorf("%s, %s: %d of %d points", p.title, l.name, len(l.y), len(p.x))
			}
			points += len(l.y)
		}
	}
	svg := plot(all, newReport().Machine)
	if dots := strings.Count(svg, "<circle"); dots != points {
		t.Errorf("%d dots for %d points", dots, points)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a coordinate is no number")
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPanelsLeaveOutOtherSetups(t *testing.T) {
	t.Parallel()
	row := func(endpoints, fanout, size int, perSecond float64) drainResult {
		return drainResult{
			drainSetup: drainSetup{setup: setup{Tier: "1s", Size: size}, Fanout: fanout, Endpoints: endpoints},
			Pairs:      []pair{{Bare: figures{PerSecond: 2 * perSecond}, Fanjet: figures{PerSecond: perSecond}}},
		}
	}
	other := row(1, 1, 1024, 9000)
	other.Against = "bench-of-another-checkout"
	all := panels([]drainResult{other, row(1, 1, 1024, 100), row(10, 1, 1024, 80), row(10, 1, 4096, 1), row(20, 10, 1024, 1), row(1, 1, 1024, 200)})
	if len(all) != 1 || all[0].title != "active endpoints" {
		t.Fatalf("%+v", all)
	}
	if y := all[0].lines[0].y; len(y) != 2 || y[1] != 150 || y[10] != 80 {
		t.Errorf("%v", y)
	}
}

func TestTicksAreFew(t *testing.T) {
	t.Parallel()
	for _, highest := range []float64{0, 1, 3, 9, 10, 37, 99, 1001, 24_000, 49_999, 50_000, 99_999} {
		if n := max(highest, 1) / tickStep(highest); n < 4 || n > 10 {
			t.Errorf("%g ticks up to %g", n, highest)
		}
	}
}
