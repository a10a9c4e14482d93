package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"fanjet/dlq"
)

const (
	barWidth = 30
	// lineEvery is how often a line of progress is printed where there is no
	// terminal to draw a bar on.
	lineEvery = 10 * time.Second
)

// progress shows how far an operation on many letters is: a bar on a terminal,
// else a line now and then.
type progress struct {
	w     io.Writer
	bar   bool
	verb  string // what was done to the letters
	total int
	began time.Time
	shown time.Time // when the last line was printed
}

func (g *globals) newProgress(verb string, total int) *progress {
	now := time.Now()
	return &progress{w: g.err, bar: isTerminal(g.err), verb: verb, total: total, began: now, shown: now}
}

// update shows p.
func (p *progress) update(now dlq.Progress) {
	elapsed := time.Since(p.began)
	if p.bar {
		fmt.Fprintf(p.w, "\r\x1b[K%s %s", drawBar(now.Done+now.Skipped+now.Failed, p.total), p.describe(now, elapsed))
		return
	}
	if time.Since(p.shown) >= lineEvery {
		p.shown = time.Now()
		fmt.Fprintln(p.w, p.describe(now, elapsed))
	}
}

// end leaves the line of the bar.
func (p *progress) end() {
	if p.bar {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func (p *progress) describe(now dlq.Progress, elapsed time.Duration) string {
	text := fmt.Sprintf("%d of %s %s", now.Done, counted(p.total, "letter"), p.verb)
	if now.Failed > 0 {
		text += fmt.Sprintf(", %d failed", now.Failed)
	}
	if now.Waiting != nil {
		return text + "; waiting for NATS: " + printable(now.Waiting.Error())
	}
	if elapsed >= time.Second {
		text += fmt.Sprintf(", %.0f/s", float64(now.Done)/elapsed.Seconds())
	}
	return text
}

// drawBar draws how much of a total is done.
func drawBar(done, total int) string {
	full := barWidth
	if total > 0 {
		full = min(done*barWidth/total, barWidth)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "]"
}
