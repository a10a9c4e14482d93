package main

import (
	"strings"
	"testing"
)

const said = `{"config": {"go_version": "go1.26.8", "db": "file:///db"}}
{"progress": {"message": "Scanning"}}
{"osv": {"id": "GO-1", "summary": "A module's fault"}}
{"osv": {"id": "GO-2", "summary": "A fault of the standard library"}}
{"osv": {"id": "GO-3", "summary": "A fault that is not called"}}
`

const (
	inModule   = `{"finding": {"osv": "GO-1", "fixed_version": "v1.2.4", "trace": [{"module": "example.com/m", "version": "v1.2.3", "package": "example.com/m", "function": "F"}, {"module": "fanjet", "package": "fanjet/gateway", "function": "New"}]}}` + "\n"
	inStandard = `{"finding": {"osv": "GO-2", "fixed_version": "v1.26.9", "trace": [{"module": "stdlib", "version": "v1.26.8", "package": "net/http", "function": "Do"}]}}` + "\n"
	notCalled  = `{"finding": {"osv": "GO-3", "trace": [{"module": "example.com/m", "version": "v1.2.3", "package": "example.com/m"}]}}` + "\n"
)

func TestReport(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		findings string
		failed   bool
		want     []string
		not      string
	}{
		"nothing": {want: []string{"called: 0 in modules, 0 in the standard library of go1.26.8"}, not: "warning"},
		"a module": {
			findings: inModule, failed: true,
			want: []string{"GO-1: A module's fault (example.com/m v1.2.3, fixed in v1.2.4)", "called: 1 in modules, 0 in"}, not: "warning",
		},
		"the standard library": {
			findings: inStandard,
			want:     []string{"GO-2: A fault of the standard library (stdlib v1.26.8, fixed in v1.26.9)", "0 in modules, 1 in", "warning: build"},
		},
		"what is only imported": {findings: notCalled, want: []string{"0 in modules, 0 in"}, not: "GO-3"},
		"all":                   {findings: notCalled + inStandard + inModule, failed: true, want: []string{"1 in modules, 1 in"}, not: "GO-3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := read(strings.NewReader(said + test.findings))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			r.print(&out)
			if r.failed() != test.failed {
				t.Errorf("failed is %t\n%s", r.failed(), out.String())
			}
			for _, text := range test.want {
				if !strings.Contains(out.String(), text) {
					t.Errorf("%q is missing:\n%s", text, out.String())
				}
			}
			if test.not != "" && strings.Contains(out.String(), test.not) {
				t.Errorf("it has %q:\n%s", test.not, out.String())
			}
		})
	}
}

func TestSilenceIsNoSuccess(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "govulncheck: fetching vulnerabilities: no such host"} {
		if r, err := read(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %+v", text, r)
		}
	}
}
