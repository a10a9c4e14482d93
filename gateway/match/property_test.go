package match

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Generators of whole configurations and events that often concern each other.
var (
	anyFilter = rapid.SampledFrom([]string{
		"", "", "",
		`data.n > 5`, `data.n > 5 && data.s == "x"`, `data.s.startsWith("x")`, `!has(data.n)`, `data.?n.orValue(0) == 0`, `data.l.exists(e, e > 1)`,
		`headers["T"] == "a"`, `tokens.size() > 2`, `subject.contains("a")`, `data.l[1] == data.n`, `data.n / data.d > 0`, `"T" in headers || data.n > 5`, `data`, `true`, `false`,
	})
	anyEndpoint     = rapid.SampledFrom([]string{"e1", "e2", "e3", "e4", "e5"})
	anySubscription = rapid.Custom(func(t *rapid.T) Subscription {
		return Subscription{
			Subjects:  rapid.SliceOfN(pattern, 1, 3).Draw(t, "subjects"),
			Filter:    anyFilter.Draw(t, "filter"),
			Endpoints: rapid.SliceOfN(anyEndpoint, 1, 4).Draw(t, "endpoints"),
		}
	})
	anyEvent = rapid.Custom(func(t *rapid.T) *Event {
		return &Event{
			Subject: subject.Draw(t, "subject"),
			Header:  rapid.SampledFrom([]map[string][]string{nil, {"T": {"a", "b"}}, {"T": {}}, {"t": {"a"}}}).Draw(t, "header"),
			Data: []byte(rapid.SampledFrom([]string{
				"", "no json", "null", "true", "[]", "{}", `{"n": 7}`, `{"n": 7, "s": "x"}`, `{"n": "7"}`, `{"n": 1, "l": [1, 1], "d": 0}`, `{"l": [0, 5]}`, `{"n": 7, "n": 7}`,
			}).Draw(t, "data")),
		}
	})
)

// drawSubscriptions draws a configuration; the names are set here to be unique.
func drawSubscriptions(t *rapid.T) []Subscription {
	subs := rapid.SliceOfN(anySubscription, 0, 12).Draw(t, "subscriptions")
	for i := range subs {
		subs[i].Name = fmt.Sprintf("s%d", i)
	}
	return subs
}

func mustNew(t *rapid.T, subs []Subscription) *Matcher {
	m, err := New(subs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each endpoint comes once, and the ones that come are those of the
// subscriptions that match alone, in their order.
func TestEachEndpointOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subs, ev := drawSubscriptions(t), anyEvent.Draw(t, "event")
		var want []string
		for _, sub := range subs {
			if len(mustNew(t, []Subscription{sub}).Match(ev, nil, nil)) == 0 {
				continue
			}
			for _, endpoint := range sub.Endpoints {
				if !slices.Contains(want, endpoint) {
					want = append(want, endpoint)
				}
			}
		}
		m := mustNew(t, subs)
		for range 2 {
			if got := m.Match(ev, nil, nil); !equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
		}
	})
}

// A subscription that does not match changes nothing, wherever it stands, not
// even if its filter fails.
func TestOthersDoNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subs, ev := drawSubscriptions(t), anyEvent.Draw(t, "event")
		before := mustNew(t, subs).Match(ev, nil, nil)

		other := anySubscription.Draw(t, "other")
		other.Name = "other"
		if len(mustNew(t, []Subscription{other}).Match(ev, nil, nil)) > 0 {
			other.Filter = "false"
		}
		at := rapid.IntRange(0, len(subs)).Draw(t, "at")
		if after := mustNew(t, slices.Insert(subs, at, other)).Match(ev, nil, nil); !equal(before, after) {
			t.Fatalf("%q, with another subscription %q", before, after)
		}
	})
}

// Explain says of each subscription what Match does with it.
func TestExplainEqualsMatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subs, ev := drawSubscriptions(t), anyEvent.Draw(t, "event")
		m := mustNew(t, subs)
		var failures []string
		got := m.Match(ev, nil, func(subscription string, _ error) { failures = append(failures, subscription) })

		verdicts := m.Explain(ev)
		if len(verdicts) != len(subs) {
			t.Fatalf("%d verdicts on %d subscriptions", len(verdicts), len(subs))
		}
		var want []string
		for i, v := range verdicts {
			if v.Subscription != subs[i].Name || !slices.Equal(v.Endpoints, subs[i].Endpoints) || v.Reason == "" {
				t.Fatalf("verdict on %+v: %+v", subs[i], v)
			}
			if v.Matched && slices.Contains(failures, v.Subscription) {
				t.Fatalf("the filter of %s failed, the verdict is %+v", v.Subscription, v)
			}
			for _, endpoint := range v.Endpoints {
				if v.Matched && !slices.Contains(want, endpoint) {
					want = append(want, endpoint)
				}
			}
		}
		if !equal(got, want) {
			t.Fatalf("Match says %q, Explain %q", got, want)
		}
	})
}

// FuzzMatch: whatever an event contains, matching neither crashes nor lets one
// filter concern another, and Explain agrees.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{
		``, `{`, `null`, `[]`, `"a"`, `1e400`, `{"a": 1}`, `{"a": {"b": [1, 2.5, "x", null]}}`, `{"a": "\ud800"}`, "\xff", `{"a": 1, "a": 2}`,
		`[[[[[[]]]]]]`, `{"a": [{"b": 18446744073709551615}]}`, `{"a": -9223372036854775808}`,
	} {
		f.Add("events.a", "T", "v", []byte(seed))
	}
	var subs []Subscription
	for i, filter := range []string{
		"", `data.a > 1`, `data.a.b[0] == 1`, `data.a == data.a`, `data.a.exists(x, x == 1)`, `size(data) > 0`, `data.a + 1 > 0`, `-data.a < 0`, `data.a * data.a > 0`,
		`string(data.a) == "1"`, `int(data.a) > 0`, `timestamp(data.a) > time`, `data.a.matches("^x+$")`, `data.a in data`, `"a" in data`, `has(data.a)`, `has(data.a.b)`,
		`data.?a.?b.orValue(1) == 1`, `data == {"a": 1}`, `data[0] == 1`, `data.all(k, k != "")`, `headers.T == "v"`, `headers.exists(h, headers[h] == "v")`,
		`tokens[1] == data.a`, `data.a.split(".").size() > 1`, `data.a.charAt(0) == "x"`, `type(data.a) == string`, `data`, `time.getHours(data.a) > 0`,
	} {
		subs = append(subs, Subscription{Name: fmt.Sprint(i), Subjects: []string{">"}, Filter: filter, Endpoints: []string{fmt.Sprint("e", i)}})
	}
	m := newMatcher(f, subs...)
	f.Fuzz(func(t *testing.T, subject, header, value string, data []byte) {
		ev := &Event{Subject: subject, Header: map[string][]string{header: {value}}, Data: data}
		failed := make(map[string]bool)
		got := m.Match(ev, nil, func(subscription string, err error) {
			if err.Error() == "" {
				t.Fatalf("the filter of %s fails without a reason", subscription)
			}
			failed[subscription] = true
		})
		var want []string
		for _, v := range m.Explain(ev) {
			if v.Matched {
				want = append(want, v.Endpoints...)
			}
			if v.Matched && failed[v.Subscription] || v.Reason == "" {
				t.Fatalf("%+v", v)
			}
		}
		if !equal(got, want) {
			t.Fatalf("Match says %q, Explain %q", got, want)
		}
	})
}
