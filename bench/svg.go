package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// drawing builds an SVG. Its colours follow the reader's choice of light or
// dark.
type drawing struct {
	text          strings.Builder
	width, height int
}

// style colours the classes that a drawing uses. The lines are told apart by
// colour and by dash: Fanjet is solid, the bare loop is dashed.
const style = `
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 15px; font-weight: 600; fill: #1f2328 }
  .panel { font-size: 13px; font-weight: 600; fill: #1f2328 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .axis { stroke: #8c959f; stroke-width: 1 }
  .line { fill: none; stroke-width: 2 }
  .s0 { stroke: #0969da } .d0 { fill: #0969da }
  .s1 { stroke: #bc4c00 } .d1 { fill: #bc4c00 }
  .bare { stroke-dasharray: 5 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title, .panel { fill: #f0f6fc }
    .grid { stroke: #30363d } .axis { stroke: #656c76 }
    .s0 { stroke: #4493f8 } .d0 { fill: #4493f8 }
    .s1 { stroke: #f0883e } .d1 { fill: #f0883e }
  }
`

func newDrawing(width, height int, about string) *drawing {
	d := &drawing{width: width, height: height}
	fmt.Fprintf(&d.text, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&d.text, "<title>%s</title>\n<style>%s</style>\n", escape(about), style)
	return d
}

func (d *drawing) String() string { return d.text.String() + "</svg>\n" }

// put writes text at a place; anchor is start, middle or end.
func (d *drawing) put(class string, x, y float64, anchor, text string) {
	fmt.Fprintf(&d.text, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, escape(text))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.text, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

// point is a place in a drawing.
type point struct{ x, y float64 }

func (d *drawing) path(class string, points []point) {
	var at strings.Builder
	for i, p := range points {
		if i > 0 {
			at.WriteByte(' ')
		}
		fmt.Fprintf(&at, "%.1f,%.1f", p.x, p.y)
	}
	fmt.Fprintf(&d.text, `<polyline class="%s" points="%s"/>`+"\n", class, at.String())
}

func (d *drawing) dot(class string, p point, about string) {
	fmt.Fprintf(&d.text, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`+"\n", class, p.x, p.y, escape(about))
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
