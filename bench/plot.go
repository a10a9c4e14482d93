package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
)

func plotCommand(_ context.Context, args []string) error {
	f := flag.NewFlagSet("bench plot", flag.ContinueOnError)
	out := f.String("o", "throughput.svg", "where to write the plot")
	f.Usage = func() {
		fmt.Fprintln(f.Output(), "usage: bench plot [-o FILE.svg] FILE.json…")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if f.NArg() == 0 {
		f.Usage()
		return errUsage
	}
	var results []drainResult
	var where machine
	for _, path := range f.Args() {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s is no report of bench: %w", path, err)
		}
		results = append(results, r.Drain...)
		where = r.Machine
	}
	all := panels(results)
	if len(all) == 0 {
		return fmt.Errorf("%s: nothing to draw: no endpoints, fan-out, size or replicas were measured with two values; `bench all` does it",
			strings.Join(f.Args(), ", "))
	}
	return os.WriteFile(*out, []byte(plot(all, where)), 0o644) //nolint:gosec // a picture is no secret
}

// Sizes of the drawing.
const (
	panelWidth, panelHeight = 400.0, 230.0
	headHeight              = 62.0
	left, right             = 52.0, 16.0
	top, bottom             = 28.0, 34.0
)

// plot draws the panels, two in a row, all with the same vertical axis.
func plot(all []panel, where machine) string {
	highest := 0.0
	for _, p := range all {
		for _, l := range p.lines {
			for _, y := range l.y {
				highest = max(highest, y)
			}
		}
	}
	step := tickStep(highest)
	ceiling := math.Ceil(highest/step) * step
	rows := (len(all) + 1) / 2
	d := newDrawing(int(2*panelWidth), int(headHeight+float64(rows)*panelHeight), "Deliveries a second of Fanjet and of a bare loop")
	d.put("title", left, 22, "start", "Deliveries a second")
	d.put("", 2*panelWidth-right, 22, "end", where.String())
	x := left
	for _, l := range all[0].lines {
		d.line(l.class(), x, 41, x+26, 41)
		d.put("", x+32, 45, "start", l.name)
		x += 60 + 7*float64(len(l.name))
	}
	for i, p := range all {
		p.draw(d, float64(i%2)*panelWidth, headHeight+float64(i/2)*panelHeight, step, ceiling)
	}
	return d.String()
}

func (l line) class() string {
	class := fmt.Sprintf("line s%d", l.tier%2)
	if l.bare {
		class += " bare"
	}
	return class
}

// draw puts a panel at a place. The values of its horizontal axis are spaced
// evenly: they grow by factors.
func (p panel) draw(d *drawing, x0, y0, step, ceiling float64) {
	width, height := panelWidth-left-right, panelHeight-top-bottom
	atX := func(i int) float64 { return x0 + left + width*(float64(i)+0.5)/float64(len(p.x)) }
	atY := func(v float64) float64 { return y0 + top + height*(1-v/ceiling) }
	d.put("panel", x0+left, y0+16, "start", p.title)
	for v := 0.0; v <= ceiling; v += step {
		class := "grid"
		if v == 0 {
			class = "axis"
		}
		d.line(class, x0+left, atY(v), x0+left+width, atY(v))
		d.put("", x0+left-8, atY(v)+4, "end", short(v, false))
	}
	for i, v := range p.x {
		d.put("", atX(i), y0+top+height+18, "middle", short(float64(v), strings.HasPrefix(p.title, "bytes")))
	}
	for _, l := range p.lines {
		var points []point
		for i, v := range p.x {
			if y, ok := l.y[v]; ok {
				points = append(points, point{atX(i), atY(y)})
			}
		}
		if len(points) == 0 {
			continue
		}
		d.path(l.class(), points)
		for i, v := range p.x {
			if y, ok := l.y[v]; ok {
				d.dot(fmt.Sprintf("d%d", l.tier%2), point{atX(i), atY(y)}, fmt.Sprintf("%s: %.0f/s at %d", l.name, y, v))
			}
		}
	}
}

// tickStep gives four to ten ticks at round values.
func tickStep(highest float64) float64 {
	step := math.Pow(10, math.Floor(math.Log10(max(highest, 1))))
	for _, divide := range []float64{1, 2, 5} {
		if highest/(step/divide) >= 4 {
			return step / divide
		}
	}
	return step / 10
}
