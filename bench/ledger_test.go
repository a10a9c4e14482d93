package main

import (
	"maps"
	"testing"
)

// fill notes the events 0 to n-1 of a ledger.
func fill(n int) *ledger {
	l := &ledger{}
	for i := range n {
		l.note(i, int64(i+1), true)
	}
	return l
}

func TestAuditFindsEveryFault(t *testing.T) {
	t.Parallel()
	p := evenPlan(2, 2, 64)
	p.Targets = append(p.Targets, target{Name: "sick", Subject: 0, Behaves: behave500})
	published := []int{130, 70} // more than a word of bits, and not a whole number of them
	without := func(n, left int) *ledger {
		l := &ledger{}
		for i := range n {
			if i != left {
				l.note(i, 1, false)
			}
		}
		return l
	}
	for _, test := range []struct {
		name   string
		change func(map[string]*ledger)
		want   faults
	}{
		{"none", func(map[string]*ledger) {}, faults{}},
		{"one event left out", func(l map[string]*ledger) { l["s0-0"] = without(130, 129) }, faults{Missing: 1}},
		{"one endpoint left out", func(l map[string]*ledger) { delete(l, "s1-1") }, faults{Missing: 70}},
		{"one event twice", func(l map[string]*ledger) { l["s1-0"].note(69, 1, true) }, faults{Repeated: 1}},
		{"one event three times", func(l map[string]*ledger) { l["s1-0"].note(0, 1, true); l["s1-0"].note(0, 1, true) }, faults{Repeated: 2}},
		{"an event of another subject", func(l map[string]*ledger) { l["s1-0"].note(70, 1, true) }, faults{Strange: 1}},
		{"an endpoint that nobody knows", func(l map[string]*ledger) { l["s9-0"] = fill(3) }, faults{Strange: 3}},
		{"a sick endpoint, again and again", func(l map[string]*ledger) { l["sick"].note(0, 1, true) }, faults{}},
		{"all at once", func(l map[string]*ledger) {
			l["s0-0"] = without(130, 0)
			l["s0-0"].note(5, 1, false)
			l["s1-1"].note(640, 1, false)
		}, faults{Missing: 1, Repeated: 1, Strange: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ledgers := map[string]*ledger{"s0-0": fill(130), "s0-1": fill(130), "s1-0": fill(70), "s1-1": fill(70), "sick": fill(1)}
			test.change(ledgers)
			got := make(map[string]received, len(ledgers))
			for name, l := range maps.All(ledgers) {
				got[name] = l.received
			}
			if f := audit(p, published, got); f != test.want {
				t.Errorf("got %+v, want %+v", f, test.want)
			}
		})
	}
}

func TestLedgerKeepsTheFirstArrival(t *testing.T) {
	t.Parallel()
	l := &ledger{}
	if !l.note(3, 10, true) || l.note(3, 20, true) {
		t.Error("note does not tell the first arrival from a repetition")
	}
	if len(l.Arrivals) != 1 || l.Arrivals[0] != (arrival{Number: 3, At: 10}) || l.Last != 20 || l.Requests != 2 {
		t.Errorf("%+v", l.received)
	}
}

func TestPublishedCountsWhatPreloadPublishes(t *testing.T) {
	t.Parallel()
	for _, events := range []int{0, 1, 6, 7, 50} {
		want := make([]int, 7)
		for i := range events {
			want[i%len(want)]++ // as preload does
		}
		for j, n := range published(events, len(want)) {
			if n != want[j] {
				t.Errorf("%d events: subject %d has %d, want %d", events, j, n, want[j])
			}
		}
	}
}

func TestBodyCarriesItsNumber(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, minSize, 1024} {
		b := body(1234567, size)
		if len(b) != max(size, minSize) {
			t.Errorf("%d bytes, want %d", len(b), size)
		}
		if n, ok := number(b[:headLength]); !ok || n != 1234567 {
			t.Errorf("number is %d, %v", n, ok)
		}
	}
	for _, head := range []string{"", `{"n":"12`, `{"m":"0000000001`, `{"n":"00000x0001`, `{"n":"-000000001`} {
		if n, ok := number([]byte(head)); ok {
			t.Errorf("%q is taken for event %d", head, n)
		}
	}
}
