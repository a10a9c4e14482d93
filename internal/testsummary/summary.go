package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// summary counts tests and subtests, and as failed also each package that
// failed without naming a test: it did not build, or ended early.
type summary struct {
	passed, failed, skipped int
}

func (s summary) ok() bool { return s.failed == 0 && s.passed > 0 }

func (s summary) String() string {
	text := fmt.Sprintf("%d passed, %d failed", s.passed, s.failed)
	if s.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", s.skipped)
	}
	return text
}

type test struct{ pkg, name string }

// printer keeps what each running test said until it is known whether anybody
// needs it.
type printer struct {
	out     io.Writer
	said    map[test]*strings.Builder
	blamed  map[string]bool // packages of which a test failed
	summary summary
}

// summarize copies what matters of the events to out, ending with the count.
func summarize(in io.Reader, out io.Writer) (summary, error) {
	p := &printer{out: out, said: map[test]*strings.Builder{}, blamed: map[string]bool{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return p.summary, fmt.Errorf("reading the events of go test: %w", err)
		}
	}
	_, err := fmt.Fprintln(out, p.summary)
	return p.summary, err
}

func (p *printer) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		// The go command itself speaks, not a test.
		io.WriteString(p.out, line)
		return
	}
	switch {
	case e.Action == "output" || e.Action == "build-output":
		p.output(e)
	case e.Test != "":
		p.test(e)
	case e.Action == "fail" && !p.blamed[e.Package]:
		p.unfinished(e.Package)
		p.summary.failed++
	}
}

func (p *printer) output(e event) {
	if e.Test == "" {
		if e.Output != "PASS\n" && !strings.Contains(e.Output, "[no test files]") {
			io.WriteString(p.out, e.Output)
		}
		return
	}
	key := test{e.Package, e.Test}
	if p.said[key] == nil {
		p.said[key] = &strings.Builder{}
	}
	p.said[key].WriteString(e.Output)
}

func (p *printer) test(e event) {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "pass":
		p.summary.passed++
	case "skip":
		p.summary.skipped++
	case "fail":
		p.summary.failed++
		p.blamed[e.Package] = true
		if said := p.said[key]; said != nil {
			io.WriteString(p.out, said.String())
		}
	default:
		return
	}
	delete(p.said, key)
}

// unfinished shows what the tests of a package said that never ended: one of
// them took the process down.
func (p *printer) unfinished(pkg string) {
	for key, said := range p.said {
		if key.pkg == pkg {
			io.WriteString(p.out, said.String())
			delete(p.said, key)
		}
	}
}
