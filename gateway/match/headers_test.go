package match

import (
	"fmt"
	"maps"
	"testing"
)

// Names of headers are the same in any spelling. Which one counts is what
// receivers and identities go by, too.
func TestFiltersFindHeadersInAnySpelling(t *testing.T) {
	t.Parallel()
	many := map[string][]string{}
	for i := range 1000 {
		many[fmt.Sprintf("X-Filler-%d", i)] = []string{"v"}
	}
	for _, filler := range []map[string][]string{nil, many} {
		for _, tt := range []struct {
			header map[string][]string
			filter string
			want   outcome
		}{
			{map[string][]string{"X-TENANT": {"a"}}, `headers["x-tenant"] == "a"`, passed},
			{map[string][]string{"x-tenant": {"a"}}, `headers["X-Tenant"] == "a"`, passed},
			{map[string][]string{"x-tenant": {"a"}}, `"X-Tenant" in headers && !("X-Tenants" in headers)`, passed},
			{map[string][]string{"tenant": {"a"}}, `headers.Tenant == "a" && has(headers.TENANT) && !has(headers.tenants)`, passed},
			{map[string][]string{"tenant": {"a"}}, `headers.?Tenant.orValue("b") == "a"`, passed},
			{map[string][]string{"tenant": {"a"}}, `headers["tenants"] == "a"`, incomplete},
			{map[string][]string{"tenant": {"a"}}, `headers.all(h, headers[h.upperAscii()] != "")`, passed},

			// The spelling of the filter goes first, then the first in byte order.
			{map[string][]string{"x-t": {"low"}, "X-T": {"high"}}, `headers["x-t"] == "low" && headers["X-T"] == "high"`, passed},
			{map[string][]string{"x-t": {"low"}, "X-T": {"high"}}, `headers["X-t"] == "high"`, passed},
			{map[string][]string{"x-t": {"low"}, "X-T": {"high"}}, `headers.exists(h, h == "x-t") && headers.exists(h, h == "X-T")`, passed},
			// What is empty hides nothing, but is there.
			{map[string][]string{"x-t": {""}, "X-T": {"a"}}, `headers["x-t"] == "a"`, passed},
			{map[string][]string{"x-t": {""}}, `headers["X-T"] == "" && "X-T" in headers`, passed},
			{map[string][]string{"x-t": {}}, `headers["X-T"] == ""`, incomplete},
			{map[string][]string{"x-t": {"a", "b"}}, `headers["X-T"] == "a"`, passed},
		} {
			ev := &Event{Subject: "a", Header: map[string][]string{}}
			maps.Copy(ev.Header, filler)
			maps.Copy(ev.Header, tt.header)
			if got, err := compileFilter(t, tt.filter).run(&variables{event: ev}); got != tt.want {
				t.Errorf("%s with %q: %v (%v), want %v", tt.filter, tt.header, got, err, tt.want)
			}
		}
	}
}

// What one event left must not be found in the next one.
func TestHeadersOfTheEventBeforeAreForgotten(t *testing.T) {
	t.Parallel()
	vars := &variables{event: &Event{Header: map[string][]string{}}}
	next := &Event{Header: map[string][]string{}}
	for i := range 2 * fewHeaders {
		vars.event.Header[fmt.Sprint("N", i)] = []string{"v"}
		next.Header[fmt.Sprint("M", i)] = []string{"v"}
	}
	f := compileFilter(t, `headers["n5"] == "v"`)
	if out, err := f.run(vars); out != passed {
		t.Fatal(out, err)
	}
	vars.reset()
	vars.event = next
	if out, _ := f.run(vars); out != incomplete {
		t.Error(out)
	}
}
