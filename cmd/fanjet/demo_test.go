package main

import (
	"strings"
	"testing"
)

// The tour's account finds every way in which a delivery can be missing or
// wrong: the tour cannot end well without them.
func TestDemoAccount(t *testing.T) {
	t.Parallel()
	want := demoPairs(func(string) bool { return true })
	good := func() demoReport {
		r := demoReport{byPair: map[demoPair]int{}, ids: map[string]int{}}
		for _, p := range want {
			r.byPair[p] = 1
			r.ids[p.event] = 1
		}
		return r
	}
	if problems := good().problems(want); len(problems) > 0 {
		t.Errorf("nothing is wrong, but: %v", problems)
	}
	for name, tt := range map[string]struct {
		spoil func(*demoReport)
		say   string
	}{
		"missing":     {func(r *demoReport) { delete(r.byPair, want[0]) }, "0 times"},
		"twice":       {func(r *demoReport) { r.byPair[want[1]] = 2 }, "2 times"},
		"unexpected":  {func(r *demoReport) { r.byPair[demoPair{"payment-2", "ledger"}] = 1 }, "did not subscribe"},
		"two ids":     {func(r *demoReport) { r.ids["chat-1"] = 2 }, "different webhook-ids"},
		"bad request": {func(r *demoReport) { r.bad = []string{"no signature"} }, "no signature"},
	} {
		r := good()
		tt.spoil(&r)
		if got := strings.Join(r.problems(want), "; "); !strings.Contains(got, tt.say) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
