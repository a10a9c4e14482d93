package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// message is one of the stream that govulncheck prints; see its package
// internal/govulncheck. One of its fields is set.
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
		DB        string `json:"db"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string `json:"osv"`
		FixedVersion string `json:"fixed_version"`
		Trace        []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Package  string `json:"package"`
			Function string `json:"function"` // set if the program calls it
		} `json:"trace"` // from what is vulnerable to what calls it
	} `json:"finding"`
}

const standardLibrary = "stdlib"

// vulnerability is a known one that the program calls.
type vulnerability struct {
	id, summary         string
	module, have, fixed string
}

type report struct {
	goVersion string
	called    map[string]vulnerability // by id
}

// read returns the vulnerabilities that the program calls. Those in packages
// that it only imports, or in modules that it only requires, are left out.
func read(in io.Reader) (*report, error) {
	r := &report{called: make(map[string]vulnerability)}
	summaries := make(map[string]string)
	messages := json.NewDecoder(in)
	for {
		var m message
		err := messages.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading what govulncheck says: %w", err)
		}
		switch {
		case m.Config != nil:
			r.goVersion = m.Config.GoVersion
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0 && m.Finding.Trace[0].Function != "":
			f := m.Finding
			r.called[f.OSV] = vulnerability{id: f.OSV, module: f.Trace[0].Module, have: f.Trace[0].Version, fixed: f.FixedVersion}
		}
	}
	if r.goVersion == "" {
		return nil, errors.New("govulncheck said nothing: it failed, or its database cannot be read")
	}
	for id, v := range r.called {
		v.summary = summaries[id]
		r.called[id] = v
	}
	return r, nil
}

// failed reports whether a module that go.mod names has one.
func (r *report) failed() bool {
	for _, v := range r.called {
		if v.module != standardLibrary {
			return true
		}
	}
	return false
}

func (r *report) print(out io.Writer) {
	standard := 0
	for _, id := range slices.Sorted(maps.Keys(r.called)) {
		v := r.called[id]
		fixed := "not fixed yet"
		if v.fixed != "" {
			fixed = "fixed in " + v.fixed
		}
		if v.module == standardLibrary {
			standard++
		}
		fmt.Fprintf(out, "%s: %s (%s %s, %s)\n", v.id, v.summary, v.module, v.have, fixed)
	}
	fmt.Fprintf(out, "known vulnerabilities that are called: %d in modules, %d in the standard library of %s\n",
		len(r.called)-standard, standard, r.goVersion)
	if standard > 0 {
		fmt.Fprintln(out, "warning: build releases with the newest patch version of Go")
	}
}
