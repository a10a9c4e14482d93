package match

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// order is the event that most tests use.
func order() *Event {
	return &Event{
		ID:      "msg_1",
		Subject: "events.orders.42.paid",
		Header:  map[string][]string{"X-Tenant": {"acme", "other"}, "Content-Type": {"application/json"}, "Empty": {}},
		Data: []byte(`{
			"amount": 1250, "price": 12.5, "currency": "EUR", "live": true, "none": null, "field": "amount", "far": 9,
			"big": 9007199254740993, "huge": 18446744073709551615, "beyond": 1e400, "neg": -1,
			"customer": {"tier": "gold", "tags": ["new", "web"]},
			"items": [{"sku": "A", "qty": 2}, {"sku": "B"}], "empty": [], "grid": [[1, 2], [3]]}`),
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
	}
}

// run compiles and runs a filter.
func run(t *testing.T, filter string, ev *Event) (outcome, *evaluationError) {
	t.Helper()
	return compileFilter(t, filter).run(&variables{event: ev})
}

func compileFilter(t testing.TB, text string) *filter {
	t.Helper()
	language, err := filters()
	if err != nil {
		t.Fatal(err)
	}
	f, err := language.filter(text)
	if err != nil {
		t.Fatalf("filter %q: %v", text, err)
	}
	return f
}

func (o outcome) String() string {
	return [...]string{"passed", "rejected", "incomplete", "failed"}[o]
}

func TestFilterOutcomes(t *testing.T) {
	t.Parallel()
	for want, texts := range map[outcome][]string{
		passed: {
			// every variable
			`data.amount > 1000`, `subject == "events.orders.42.paid"`, `tokens[1] == "orders" && tokens.size() == 4`,
			`headers["X-Tenant"] == "acme"`, `!("Empty" in headers)`, `"X-Tenant" in headers && "x-tenant" in headers`,
			`headers["x-tenant"] == "acme"`, `headers["X-TENANT"] == headers["X-Tenant"]`, `headers[?"x-Tenant"].orValue("d") == "acme"`,
			`!("X-Tenan" in headers)`, `headers == {"X-Tenant": "acme", "Content-Type": "application/json"}`, `headers != {"x-tenant": "acme"}`,
			`headers.all(h, headers[h] == headers[h.lowerAscii()])`, `size(headers) == 2`,
			`id == "msg_1"`, `time == timestamp("2026-03-04T05:06:07Z")`, `time.getHours("Asia/Tokyo") == 14`, `time.getDayOfWeek() == 3`,
			// numbers
			`data.amount == 1250.0`, `data.amount == 1250u`, `data.price > 12`, `data.price < 13u`, `data.big == 9007199254740993`,
			`data.big != 9007199254740992`, `data.huge == 18446744073709551615u`, `data.huge > 9223372036854775807`, `data.beyond > 1e300`,
			`data.neg == -1`, `data.amount % 50 == 0`, `double(data.amount) * 1.5 > 1800.0`, `data.price in [1, 12.5]`,
			// structure
			`data.customer.tier == "gold"`, `data["customer"]["tier"] == "gold"`, `data[data.field] == 1250`, `data.grid[1][0] == 3`,
			`data.items[1].sku == "B"`, `data.none == null`, `has(data.none)`, `data.empty == []`, `size(data.items) == 2`,
			`data.customer == {"tags": ["new", "web"], "tier": "gold"}`, `"tier" in data.customer`, `"web" in data.customer.tags`,
			`data.live`, `dyn(data.live)`, `type(data.price) == double`,
			// macros
			`data.items.exists(i, i.sku == "B")`, `data.items.all(i, has(i.sku))`, `data.items.exists_one(i, i.sku == "A")`,
			`data.items.filter(i, has(i.qty)).size() == 1`, `data.items.map(i, i.sku) == ["A", "B"]`, `data.customer.exists(k, k == "tier")`,
			`data.empty.all(i, i.nothing)`, `headers.exists(h, h.startsWith("X-"))`,
			// what is missing and not needed
			`!has(data.missing)`, `has(data.missing) || data.live`, `data.missing > 1 || data.live`, `data.live || data.missing > 1`,
			`data.live ? data.live : data.missing`, `data.items.exists(i, i.qty == 2)`, `!has(data.amount.cents)`,
			// optional values
			`data.?missing.?deep.orValue("x") == "x"`, `data.customer.?tier.orValue("x") == "gold"`, `!data.?missing.hasValue()`,
			`!data.items[?7].hasValue()`, `data.?customer.optMap(c, c.tier == "gold").orValue(false)`, `headers[?"Nope"].orValue("d") == "d"`,
			// strings
			`data.currency.lowerAscii() == "eur"`, `data.customer.tier.matches("^g.*d$")`, `"a,b".split(",") == ["a", "b"]`, `" a ".trim() == "a"`,
		},
		rejected: {
			`data.amount > 2000`, `false`, `data.none == 1`, `has(data.missing)`, `data.missing > 1 && false`, `false && data.missing > 1`,
			`data.amount == "1250"`, `data.items.exists(i, i.sku == "C")`, `"missing" in data`, `9 in data.customer.tags`,
			`data.?missing.orValue(false)`, `data.empty.exists(i, i.x)`, `data.live ? false : data.missing`, `headers["X-Tenant"] == "other"`,
		},
		incomplete: {
			// fields, keys and indexes that are not there, at any depth
			`data.missing`, `data.missing == 1`, `data.missing != 1`, `!(data.missing == 1)`, `data.missing.deep == 1`, `data.customer.missing == 1`,
			`data["missing"] == 1`, `data[data.missing] == 1`, `data[data.currency] == 1`, `data.items[2].sku == "C"`, `data.items[-1] == 1`,
			`data.items[data.far] == 1`, `data.items[1].qty > 1`, `data.grid[0][9] == 1`, `data.grid[9][0] == 1`, `tokens[4] == ""`,
			`headers["Nope"] == ""`, `headers.Nope == ""`, `headers["xtenant"] == "acme"`, `headers["Empty"] == ""`,
			// a value of another shape has no fields
			`data.amount.cents > 1`, `data.currency.code == "EUR"`, `data.none.x == 1`, `data.live.x`, `data.items.sku == "A"`, `has(data.items.sku)`,
			`data.customer[0] == 1`, `has(data.missing.deep)`, `!has(data.missing.deep)`,
			// in every place of an expression
			`data.missing > 1 && data.live`, `data.live && data.missing > 1`, `data.missing > 1 || false`, `data.missing ? true : true`,
			`(data.live ? data.customer : data.items).missing == 1`, `(data.live ? data.missing : 1) == 1`, `data.missing == data.missing`,
			`[data.missing] == []`, `{"k": data.missing} == {}`, `1 in data.missing`, `data.missing in [1]`, `size(data.missing) == 0`,
			`string(data.missing) == ""`, `data.missing.startsWith("a")`, `data.missing.matches("a")`, `type(data.missing) == int`, `dyn(data.missing) == 1`,
			`data.missing + 1 == 2`, `-data.missing == 1`, `!data.missing`,
			// in macros
			`data.missing.exists(i, i == 1)`, `data.items.all(i, i.qty > 1)`, `data.items.exists(i, i.qty > 5)`, `data.items.map(i, i.qty) == []`,
			`data.items.filter(i, i.qty > 1) == []`, `data.items.exists_one(i, i.qty == 2)`, `[{"a": 1}].exists(m, m.b == 1)`, `{"a": 1}[data.currency] == 1`,
			`[1, 2][data.far] == 1`, `data.customer.all(k, data.missing == k)`, `data.items.all(i, data.items.exists(j, i.qty == j.qty))`,
			// empty optionals
			`data.?missing.value() == 1`, `optional.none().value()`, `data.items[?9].value() == 1`,
		},
		failed: {
			`data.currency > 1`, `data.amount + 1.0 > 1.0`, `data.price * 2 > 1.0`, `data.amount / 0 > 1`, `data.amount % 0 == 1`,
			`data.amount * 9223372036854775807 > 1`, `data.amount.startsWith("1")`, `size(data.amount) > 1`, `data.amount.exists(i, i == 1)`,
			`1 in data.amount`, `data.amount in data.price`, `int(data.currency) > 1`, `timestamp(data.currency) < time`, `time.getHours(data.currency) > 1`,
			`data.currency.charAt(9) == "x"`, `data.items[1.5] == 1`, `data.currency && true`, `!data.currency`, `-data.currency == 1`,
			`data.currency ? true : false`, `data.customer < 5`, `timestamp(data.big * 1000) > time`,
			// a result that is no bool
			`data.currency`, `data.amount`, `data.none`, `data.customer`, `data.items`,
		},
	} {
		for _, text := range texts {
			if got, err := run(t, text, order()); got != want {
				t.Errorf("%s: %v (%v), want %v", text, got, err, want)
			}
		}
	}
}

// Without data every filter that needs it is incomplete, whatever the reason.
func TestFilterWithoutData(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"", " ", "not json", "{", `{"a": 1} x`, `{"live": true, "live": true}`, "{\"a\": \"\xff\"}", "\x00\x01\x02",
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		strings.Repeat("[", 1<<20),
	} {
		for text, want := range map[string]outcome{
			`data.live`:                           incomplete,
			`data == null`:                        incomplete,
			`has(data.live)`:                      incomplete,
			`!has(data.live)`:                     incomplete,
			`data.?live.orValue(true)`:            incomplete,
			`data.items.exists(i, i == 1)`:        incomplete,
			`[1].exists(i, data.live)`:            incomplete,
			`size(data) > 1`:                      incomplete,
			`subject == "" ? data.live : true`:    passed,
			`data.live || subject != ""`:          passed,
			`data.live && subject == ""`:          rejected,
			`subject.startsWith("events.orders")`: passed,
		} {
			ev := order()
			ev.Data = []byte(data)
			if got, err := run(t, text, ev); got != want {
				t.Errorf("%s with data %.20q: %v (%v), want %v", text, data, got, err, want)
			}
		}
	}
}

// A body need not be an object.
func TestFilterRoots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data, filter string
		want         outcome
	}{
		{`null`, `data == null`, passed},
		{`null`, `data.a == 1`, incomplete},
		{`null`, `!has(data.a)`, passed},
		{`5`, `data > 4`, passed},
		{`5`, `data.a > 4`, incomplete},
		{`"x"`, `data == "x"`, passed},
		{`"x"`, `data.a == "x"`, incomplete},
		{`true`, `data`, passed},
		{`false`, `data`, rejected},
		{`[1, 2]`, `data[1] == 2`, passed},
		{`[1, 2]`, `data[2] == 2`, incomplete},
		{`[1, 2]`, `data.a == 2`, incomplete},
		{`[1, 2]`, `2 in data`, passed},
		{`{}`, `data == {}`, passed},
	} {
		if got, err := run(t, test.filter, &Event{Data: []byte(test.data)}); got != test.want {
			t.Errorf("%s with data %s: %v (%v), want %v", test.filter, test.data, got, err, test.want)
		}
	}
}

// What an event says cannot pass for a missing field, nor get into a log.
func TestErrorsAreNotToldByText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"no such key: x", "optional.none() dereference", "unsupported index type 'string' in list", "index out of bounds: 1"} {
		ev := &Event{Data: fmt.Appendf(nil, `{"t": %q}`, text)}
		for _, filter := range []string{`timestamp(data.t) > time`, `int(data.t) > 1`, `data.t > 1`, `duration(data.t) > duration("1s")`, `time.getHours(data.t) > 1`} {
			if got, err := run(t, filter, ev); got != failed {
				t.Errorf("%s with t = %q: %v (%v)", filter, text, got, err)
			} else if strings.Contains(err.Error(), text) {
				t.Errorf("%s with t = %q: the error quotes it: %v", filter, text, err)
			}
		}
	}
}

// Data is parsed by the first filter that needs it, for all of them.
func TestDataIsParsedOnDemand(t *testing.T) {
	t.Parallel()
	vars := &variables{event: order()}
	for _, text := range []string{`subject != ""`, `tokens.size() > 1 && id != "" && "X-Tenant" in headers`, `subject != "" || data.live`} {
		if _, err := compileFilter(t, text).run(vars); err != nil || vars.parsed {
			t.Errorf("%s parsed the data: %v (%v)", text, vars.parsed, err)
		}
	}
	if _, err := compileFilter(t, `data.live`).run(vars); err != nil || !vars.parsed {
		t.Errorf("data is parsed: %v (%v)", vars.parsed, err)
	}
	// Were it parsed again, it would be gone.
	vars.event.Data = []byte("garbage")
	if out, err := compileFilter(t, `data.amount == 1250`).run(vars); out != passed {
		t.Errorf("a second filter: %v (%v)", out, err)
	}
	if out, err := compileFilter(t, `headers.size() > 0`).run(vars); out != passed {
		t.Errorf("headers: %v (%v)", out, err)
	}
	vars.event.Header, vars.event.Subject = nil, "other"
	if out, err := compileFilter(t, `headers.size() > 0 && tokens[1] == "orders"`).run(vars); out != passed {
		t.Errorf("headers and tokens are made again: %v (%v)", out, err)
	}
}

// After reset nothing of an event is left for the next one.
func TestResetForgetsTheEvent(t *testing.T) {
	t.Parallel()
	vars := &variables{event: order()}
	all := compileFilter(t, `data.live && tokens.size() == 4 && headers.size() == 2`)
	if out, err := all.run(vars); out != passed {
		t.Fatal(out, err)
	}
	vars.reset()
	vars.event = &Event{Subject: "x", Data: []byte(`{"other": 1}`)}
	if out, err := compileFilter(t, `!has(data.live) && tokens == ["x"] && headers == {}`).run(vars); out != passed {
		t.Error(out, err)
	}
	vars.reset()
	vars.event = &Event{Subject: "x"}
	if out, _ := compileFilter(t, `data.live`).run(vars); out != incomplete {
		t.Error(out)
	}
}
