package chaos

import (
	"fmt"
	"slices"
	"testing"
)

// reduce looks for a smaller plan that fails as well: without some faults, then
// settings, endpoints and events. It asks fails so many times at most, and returns
// the smallest plan of which that was true, and how often it asked.
func reduce(p plan, tries int, fails func(plan) bool) (smallest plan, asked int) {
	known := map[string]bool{p.String(): true}
	ask := func(candidate plan) bool {
		text := candidate.String()
		if failed, before := known[text]; before {
			return failed
		}
		if asked >= tries || candidate.check() != nil {
			return false
		}
		asked++
		known[text] = fails(candidate)
		return known[text]
	}
	for before := ""; before != p.String() && asked < tries; {
		before = p.String()
		p.faults = shrink(p.faults, func(faults []breakage) bool { q := p; q.faults = faults; return ask(q) })
		p.settings = shrink(p.settings, func(settings []setting) bool { q := p; q.settings = settings; return ask(q) })
		p.endpoints = shrink(p.endpoints, func(endpoints []string) bool { q := p; q.endpoints = endpoints; return ask(q) })
		p.events = shrink(p.events, func(events []int) bool { q := p; q.events = events; return ask(q) })
	}
	return p, asked
}

// shrink leaves out as many items as it can such that the rest still fails: all,
// then halves, quarters, and so on (delta debugging).
func shrink[T any](items []T, fails func([]T) bool) []T {
	if len(items) == 0 || fails(nil) {
		return nil
	}
	for parts := 2; len(items) > 0; {
		size := (len(items) + parts - 1) / parts
		rest, found := without(items, size, fails)
		switch {
		case found:
			items, parts = rest, max(2, parts-1)
		case size == 1:
			return items
		default:
			parts = min(len(items), 2*parts)
		}
	}
	return items
}

// without leaves out one part of that size such that the rest still fails.
func without[T any](items []T, size int, fails func([]T) bool) (rest []T, found bool) {
	if len(items) == 1 {
		return items, false // shrink has asked
	}
	for from := 0; from < len(items); from += size {
		rest := slices.Concat(items[:from], items[min(from+size, len(items)):])
		if fails(rest) {
			return rest, true
		}
	}
	return items, false
}

// The reducer finds what a failure needs, and nothing else.
func TestReduce(t *testing.T) {
	t.Parallel()
	full := drawn(11)
	full.settings = []setting{{"nats", "shared"}, {"durability", "50ms"}, {"lanes", "on"}}
	full.faults = []breakage{{"kill", 3, "0"}, {"reload", 9, ""}, {"die", 20, "1:accepted:2"}, {"pause", 30, "line"}}
	tests := []struct {
		name, want string
		tries      int
		fails      func(plan) bool
	}{
		{"one of each", "seed=11 events=17 endpoints=line faults=die@20:1:accepted:2 settings=durability:50ms", 100, func(p plan) bool {
			return slices.Contains(p.events, 17) && slices.Contains(p.endpoints, "line") &&
				slices.Contains(p.faults, full.faults[2]) && slices.Contains(p.settings, full.settings[1])
		}},
		{"several of each", "seed=11 events=2,40 endpoints=plain,slow faults=kill@3:0,pause@30:line settings=", 200, func(p plan) bool {
			return slices.Contains(p.events, 2) && slices.Contains(p.events, 40) &&
				slices.Contains(p.endpoints, "plain") && slices.Contains(p.endpoints, "slow") &&
				slices.Contains(p.faults, full.faults[0]) && slices.Contains(p.faults, full.faults[3])
		}},
		{"always", fmt.Sprintf("seed=11 events=%d endpoints=dying faults= settings=", len(full.events)-1), 100, func(plan) bool { return true }},
		{"never again", full.String(), 1000, func(plan) bool { return false }},
		{"no tries", full.String(), 0, func(plan) bool { return true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			got, asked := reduce(full, test.tries, func(p plan) bool { calls++; return test.fails(p) })
			if got.String() != test.want {
				t.Errorf("it is reduced to\n%s, want\n%s", got, test.want)
			}
			if calls != asked || asked > test.tries {
				t.Errorf("asked %d times, says %d, may %d", calls, asked, test.tries)
			}
		})
	}
}

// With few tries the result is larger, and still a plan that failed.
func TestReduceIsBounded(t *testing.T) {
	t.Parallel()
	full := drawn(12).under(3)
	needed := full.events[len(full.events)/2]
	fails := func(p plan) bool { return slices.Contains(p.events, needed) && len(p.faults) > 0 }
	sizes := []int{}
	for _, tries := range []int{1, 5, 20, 80} {
		got, asked := reduce(full, tries, fails)
		if !fails(got) || asked > tries {
			t.Errorf("%d tries: %d used, %s", tries, asked, got)
		}
		sizes = append(sizes, len(got.events)+len(got.faults)+len(got.endpoints)+len(got.settings))
	}
	if !slices.IsSortedFunc(sizes, func(a, b int) int { return b - a }) || sizes[3] >= sizes[0] {
		t.Errorf("sizes: %v", sizes)
	}
}

// The text of a plan is all of it.
func TestPlanText(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		for variant := range 4 {
			want := drawn(seed).under(variant)
			got, err := parsePlan(want.String())
			if err != nil || got.String() != want.String() || len(got.events) != len(want.events) {
				t.Errorf("%s\nis read as\n%s, %v", want, got, err)
			}
		}
	}
	for _, wrong := range []string{
		"", "seed=1", "seed=x events=1 endpoints=line", "events=1 endpoints=nobody", "events=2,1 endpoints=line", "events=1-x endpoints=line",
		"events=1 endpoints=line faults=rain@3", "events=1 endpoints=line faults=kill", "events=1 endpoints=line settings=lanes:sometimes", "events=1 endpoints=line weather=fine",
	} {
		if p, err := parsePlan(wrong); err == nil {
			t.Errorf("%q is read as %s", wrong, p)
		}
	}
}
