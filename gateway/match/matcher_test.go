package match

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newMatcher(t testing.TB, subs ...Subscription) *Matcher {
	t.Helper()
	m, err := New(subs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMatch(t *testing.T) {
	t.Parallel()
	subs := []Subscription{
		{Name: "audit", Subjects: []string{"events.>"}, Endpoints: []string{"audit"}},
		{Name: "paid", Subjects: []string{"events.orders.*.paid", "events.invoices.*.paid"}, Endpoints: []string{"billing", "crm"}},
		{Name: "large", Subjects: []string{"events.orders.>"}, Filter: `data.amount > 1000`, Endpoints: []string{"sales", "billing", "audit"}},
		{Name: "broken", Subjects: []string{"events.orders.>"}, Filter: `data.amount.startsWith("1")`, Endpoints: []string{"broken"}},
		{Name: "twice", Subjects: []string{"events.orders.*.*", "events.*.*.paid", "events.orders.>"}, Endpoints: []string{"crm", "late", "crm"}},
	}
	m := newMatcher(t, subs...)
	for _, test := range []struct {
		subject, data string
		want          []string
		errs          []string
	}{
		{"events.orders.42.paid", `{"amount": 1250}`, []string{"audit", "billing", "crm", "sales", "late"}, []string{"broken"}},
		{"events.orders.42.paid", `{"amount": 10}`, []string{"audit", "billing", "crm", "late"}, []string{"broken"}},
		{"events.orders.42.paid", `{"amount": "12"}`, []string{"audit", "billing", "crm", "broken", "late"}, []string{"large"}},
		{"events.orders.42.paid", `{}`, []string{"audit", "billing", "crm", "late"}, nil},
		{"events.orders.42.paid", `no json`, []string{"audit", "billing", "crm", "late"}, []string{"large", "broken"}},
		{"events.orders.42.paid", ``, []string{"audit", "billing", "crm", "late"}, []string{"large", "broken"}},
		{"events.orders.42", `{"amount": 1250}`, []string{"audit", "sales", "billing", "crm", "late"}, []string{"broken"}},
		{"events.invoices.7.paid", ``, []string{"audit", "billing", "crm", "late"}, nil},
		{"events.users", ``, []string{"audit"}, nil},
		{"events", ``, nil, nil},
		{"other.orders.42.paid", ``, nil, nil},
		{"", ``, nil, nil},
		{"events..orders", ``, nil, nil},
	} {
		var errs []string
		got := m.Match(&Event{Subject: test.subject, Data: []byte(test.data)}, nil, func(subscription string, err error) {
			errs = append(errs, subscription)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: error %v", subscription, err)
			}
		})
		if !equal(got, test.want) || !equal(errs, test.errs) {
			t.Errorf("%s %s: %q, errors of %q, want %q, %q", test.subject, test.data, got, errs, test.want, test.errs)
		}
	}
}

func TestMatchAppends(t *testing.T) {
	t.Parallel()
	m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"a"}, Filter: `data > 1`, Endpoints: []string{"x", "y"}})
	// What is in dst is the caller's: "x" is appended all the same.
	got := m.Match(&Event{Subject: "a", Data: []byte("2")}, []string{"x", "before"}, nil)
	if want := []string{"x", "before", "x", "y"}; !equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Without onError an error is ignored.
	if got := m.Match(&Event{Subject: "a", Data: []byte(`"2"`)}, nil, nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	_, err := New([]Subscription{
		{Name: "good", Subjects: []string{"a"}, Endpoints: []string{"e"}},
		{Name: "good", Subjects: []string{"a"}, Endpoints: []string{"e"}},
		{Name: "bad", Subjects: []string{"a..b", "a.>.b"}, Filter: "data.x >", Endpoints: []string{"e"}},
		{},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`subscription "good": the name is used twice`,
		`subscription "bad": subject "a..b" has an empty token`,
		`subject "a.>.b": > must be the last token`,
		`filter: line 1, column 9: the filter ends`,
		`subscription "": the name is empty`,
		"no subjects",
		"no endpoints",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if wrong, ok := errors.AsType[*FilterError](err); !ok || wrong.Column != 9 {
		t.Errorf("no *FilterError in %v", err)
	}
}

func TestNoSubscriptions(t *testing.T) {
	t.Parallel()
	m := newMatcher(t)
	if got := m.Match(&Event{Subject: "a"}, nil, nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := m.Explain(&Event{Subject: "a"}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// Subscriptions and endpoints beyond one word of the sets.
func TestManySubscriptions(t *testing.T) {
	t.Parallel()
	var subs []Subscription
	var want []string
	for i := range 1000 {
		name := fmt.Sprintf("e%03d", i)
		subs = append(subs, Subscription{Name: name, Subjects: []string{"a.*", "a.b"}, Endpoints: []string{name, fmt.Sprintf("e%03d", i/2)}})
		want = append(want, name)
	}
	m := newMatcher(t, subs...)
	for range 3 { // the memory of one event serves the next
		if got := m.Match(&Event{Subject: "a.b"}, nil, nil); !slices.Equal(got, want) {
			t.Fatalf("%d endpoints: %q …", len(got), got[:min(len(got), 5)])
		}
	}
}

// Events that differ are matched at the same time by one Matcher; the race
// detector watches.
func TestMatchConcurrently(t *testing.T) {
	t.Parallel()
	m := newMatcher(t,
		Subscription{Name: "all", Subjects: []string{">"}, Endpoints: []string{"all"}},
		Subscription{Name: "n", Subjects: []string{"a.*"}, Filter: `data.n > 5 && tokens[1] == headers.T`, Endpoints: []string{"n"}},
		Subscription{Name: "loop", Subjects: []string{"a.*"}, Filter: `data.l.exists(x, x == data.n && [x] != [x, 1] && x in [1, 2, 3])`, Endpoints: []string{"loop"}},
		Subscription{Name: "types", Subjects: []string{"a.*"}, Filter: `data.n.startsWith("a") || data.n.matches("a") || 1 in data.n || -data.l == 1`, Endpoints: []string{"types"}},
		Subscription{Name: "overflow", Subjects: []string{"a.*"}, Filter: `timestamp(data.n + 9000000000000000) > time`, Endpoints: []string{"overflow"}},
	)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				n := (g + i) % 10
				ev := &Event{
					Subject: fmt.Sprintf("a.%d", n),
					Header:  map[string][]string{"T": {fmt.Sprint(n)}},
					Data:    fmt.Appendf(nil, `{"n": %d, "l": [1, 2, 3]}`, n),
				}
				want := []string{"all"}
				if n > 5 {
					want = append(want, "n")
				}
				if n >= 1 && n <= 3 {
					want = append(want, "loop")
				}
				var failures []string
				got := m.Match(ev, nil, func(s string, err error) { failures = append(failures, s+err.Error()) })
				if !equal(got, want) || len(failures) != 2 {
					t.Errorf("n = %d: %q, want %q; failures %q", n, got, want, failures)
					return
				}
				for i, v := range m.Explain(ev) {
					if v.Matched != slices.Contains(want, v.Endpoints[0]) {
						t.Errorf("n = %d: verdict %d is %+v", n, i, v)
					}
				}
			}
		})
	}
	wg.Wait()
}
