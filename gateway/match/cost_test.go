package match

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cel.dev/cel-go/interpreter"
)

func TestCostLimit(t *testing.T) {
	t.Parallel()
	ones := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	text := strings.Repeat("a", 100_000)
	ev := &Event{Data: fmt.Appendf(nil, `{"list": [%s], "text": %q, "same": %q, "deep": [[[[[[[[{"a": [%s]}]]]]]]]]}`, ones(2500), text, text, ones(100))}
	for filter, want := range map[string]outcome{
		// Looking once at all of a large event is allowed.
		`data.list.exists(i, i == 2)`:                   rejected,
		`data.list == data.list`:                        passed,
		`data.text == data.same`:                        passed,
		`data == data`:                                  passed,
		`data.deep == data.deep`:                        passed,
		`2 in data.list`:                                rejected,
		`data.text.contains("b")`:                       rejected,
		`data.text.matches("^(a|aa)+$")`:                passed,
		`size(data.text) == 100000`:                     passed,
		`data.text.lowerAscii().trim() == "a"`:          rejected,
		`data.text < data.same`:                         rejected,
		`data.list.all(i, data.text != "b")`:            passed,
		`data.list.all(i, i in [1, 2, 3])`:              passed,
		`time.getHours("Europe/Lisbon") < 24`:           passed,
		`data.list.exists(i, i + i == 3)`:               rejected,
		`[data.text, data.same].map(a, a + a)[0] == ""`: rejected,

		// Looking at all of it for each part of it is not.
		`data.list.exists(i, data.list.exists(j, i + j == 99))`:                     failed,
		`data.list.exists(i, data.list == [i])`:                                     rejected, // the shorter list decides
		`data.list.exists(i, data.list != data.list)`:                               failed,
		`data.list.exists(i, data != data)`:                                         failed,
		`data.list.exists(i, [data.text] == [data.same + "b"])`:                     failed,
		`data.list.exists(i, {"t": data.text, "i": i} == {"t": data.same, "i": 2})`: failed,
		`data.list.exists(i, 2 in data.list)`:                                       failed,
		`data.list.exists(i, size(data.text) == i)`:                                 failed,
		`data.list.exists(i, data.text > data.same)`:                                failed,
		`data.list.exists(i, data.text + data.text == "")`:                          failed,
		`data.list.exists(i, int(data.text) == i)`:                                  failed,
		`data.list.exists(i, bytes(data.text) == b"")`:                              failed,
		`data.list.exists(i, data.text.matches("^b$"))`:                             failed,
		`data.list.exists(i, data.text.charAt(0) == "b")`:                           failed,
		`data.list.exists(i, data.text.split("").size() == i)`:                      failed,
		`data.list.map(i, data.list + data.list)[0] == [data.text + "a"]`:           rejected,
		`data.list.map(i, "2026-01-01T00:00:00Z").all(s, data.text != s)`:           passed,
		`data.list.exists(i, time.getHours("Europe/Lisbon") == 99)`:                 failed,
		"[data.text]" + strings.Repeat(".map(a, a + a)", 30) + " == []":             failed,
	} {
		got, err := run(t, filter, ev)
		if got != want {
			t.Errorf("%s: %v (%v), want %v", filter, got, err, want)
		}
		if got != failed {
			continue
		}
		cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err)
		if !ok || cancelled.Cause != interpreter.CostLimitExceeded || !strings.Contains(err.Error(), "more than 1000000 steps") {
			t.Errorf("%s: %v does not name the limit", filter, err)
		}
	}
}

// The filters that run without counting the cost are those that would not
// reach the limit: counting would not change what they yield.
func TestCountingChangesNothing(t *testing.T) {
	t.Parallel()
	for text, counted := range map[string]bool{
		`data.amount > 1000 && data.currency == "EUR"`:    false,
		`data.customer.tier in ["gold", "silver"]`:        false,
		`headers["X-Tenant"] == "acme"`:                   false,
		`data.?customer.?tier.orValue("") == "gold"`:      false,
		`[1, 2, 3].exists(x, x == data.amount)`:           false,
		`data.items.exists(i, i.sku == "B")`:              true,
		`data.customer.tier.contains("ol")`:               true,
		`"web" in data.customer.tags`:                     true,
		`data.customer.tier.matches("^g")`:                true,
		`data.customer == data.items`:                     true,
		`headers.exists(h, h.startsWith("X-"))`:           true,
		`data.currency + data.customer.tier == "EURgold"`: true,
	} {
		f := compileFilter(t, text)
		_, details, _ := f.program.Eval(&variables{event: order()})
		if got := details.ActualCost() != nil; got != counted {
			t.Errorf("%s is counted: %v, want %v", text, got, counted)
		}
		always := *f
		var err error
		if always.program, err = f.language.env.Program(f.checked, limited()...); err != nil {
			t.Fatal(err)
		}
		want, _ := always.run(&variables{event: order()})
		if got, _ := f.run(&variables{event: order()}); got != want {
			t.Errorf("%s: %v, counted it is %v", text, got, want)
		}
	}
}

// A filter that is too costly is found when it is compiled, as far as that can
// be known: refused if it always is, warned about if it may be.
func TestCostEstimates(t *testing.T) {
	t.Parallel()
	digits := "[" + strings.TrimSuffix(strings.Repeat("1, ", 20), ", ") + "]"
	for _, c := range []struct{ text, want string }{
		{`data.amount > 1`, ""},
		{`data.items.exists(i, i.qty == 1)`, ""},
		{`data.items.exists(i, i.tags.exists(t, t == "x"))`, ""},
		{`data == data`, ""},
		{`data.items.exists(i, data.items.exists(j, i == j))`, "warning 1:39"},
		{"data.a > 1 &&\n  data.l.all(i, data.l.all(j, i + j > data.l[i]))", "warning 2:27"},
		{strings.Repeat(digits+".map(a, ", 5) + "a" + strings.Repeat(")", 5) + " == [data]", "error 1:1"},
	} {
		text, want := c.text, c.want
		var f Filters
		err := f.Check(text, nil)
		got := ""
		if refused, ok := errors.AsType[*FilterError](err); ok {
			got = "error 1:1"
			if !strings.Contains(refused.Message, "at least") || refused.Column < 1 {
				t.Errorf("%s: %v", text, refused)
			}
		} else if w := f.Warning(text); w != nil {
			got = fmt.Sprintf("warning %d:%d", w.Line, w.Column)
			if !strings.Contains(w.Message, "250 elements") {
				t.Errorf("%s: %v", text, w)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// FuzzCost: whatever the filter and the event, an evaluation ends soon after it
// has taken the steps that it may.
func FuzzCost(f *testing.F) {
	for _, expr := range []string{
		`data.exists(i, data.exists(j, i == j))`, `data.map(i, data.map(j, data))[0] == []`, `[data].map(a, a + a).map(a, a + a) == []`,
		`data.s.split("").exists(c, c.matches("^(a|aa)+$"))`, `tokens.all(t, headers.all(h, h.contains(t)))`, `data == data`, `string(data).reverse() > subject`,
		`[1, 2, 3].exists(i, [1, 2].exists(j, data.n + i > j))`,
	} {
		f.Add(expr, []byte(`[1, 2, 3, "a", {"a": [[[]]]}]`))
		f.Add(expr, []byte(`{"s": "aaaaaaaaaaaaaaaaaaaaaaaa", "n": 1e300}`))
	}
	f.Fuzz(func(t *testing.T, expr string, data []byte) {
		const largest = 16 << 10
		language, err := filters()
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := language.filter(expr)
		if err != nil || len(data) > largest {
			return
		}
		vars := &variables{event: &Event{Subject: "events.a", Header: map[string][]string{"A": {"b"}}, Data: data}}
		_, details, _ := compiled.program.Eval(vars)
		if details == nil || details.ActualCost() == nil {
			return // one that cannot cost too much
		}
		if cost := *details.ActualCost(); cost > 2*costLimit {
			t.Errorf("%s took %d steps", expr, cost)
		}
	})
}
