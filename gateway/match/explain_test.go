package match

import (
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	const subjects = "events.orders.*.paid"
	for _, test := range []struct {
		filter  string
		matched bool
		reason  string
	}{
		{``, true, `subject matches events.orders.*.paid`},
		{`data.amount > 1000`, true, `subject matches events.orders.*.paid and filter is true`},
		{`data.amount > 2000`, false, `filter is false: data.amount > 2000`},
		{"data.amount > 2000 &&\n  data.live", false, `filter is false: data.amount > 2000`},
		{`data.live && (data.amount > 1000 && data.currency == 'USD')`, false, `filter is false: data.currency == "USD"`},
		{`data.missing && data.currency == 'USD'`, false, `filter is false: data.currency == "USD"`},
		{`data.amount > 2000 || data.currency == 'USD'`, false, `filter is false: data.amount > 2000 || data.currency == 'USD'`},
		{`data.live && data.items.exists(i, i.sku == "C")`, false, `filter is false: data.items.exists(i, i.sku == "C")`},
		{`data.live && !has(data.customer)`, false, `filter is false: !has(data.customer)`},

		{`data.missing > 1000`, false, `filter needs data.missing, which the event does not have`},
		{`data.customer.address.city == "Lyon"`, false, `filter needs data.customer.address.city, but the event does not have data.customer.address`},
		{`data["no such"] == 1`, false, `filter needs data["no such"], which the event does not have`},
		{`data.items[7].sku == "A"`, false, `filter needs data.items[7].sku, but data.items has 2 elements`},
		{`headers["X-Team"] == "a"`, false, `filter needs headers["X-Team"], which the event does not have`},
		{`tokens[9] == "a"`, false, `filter needs tokens[9], but tokens has 4 elements`},
		{`data.items.all(i, i.qty > 1)`, false, `filter needs i.qty, which the event does not have`},
		{`has(data.missing.deep)`, false, `filter needs data.missing, which the event does not have`},
		{`data.amount.cents == 1`, false, `filter needs data.amount.cents, but data.amount is a number`},
		{`data.items.sku == "A"`, false, `filter needs data.items.sku, but data.items is a list`},
		{`data.items.sku.x == "A"`, false, `filter needs data.items.sku.x, but data.items is a list`},
		{`has(data.items.sku)`, false, `filter needs has(data.items.sku), but data.items is a list`},
		{`data.items[0].sku.code == 1`, false, `filter needs data.items[0].sku.code, but data.items[0].sku is a string`},
		{`data.customer[0] == 1`, false, `filter needs data.customer[0], but data.customer is an object`},
		{`data.items["sku"] == 1`, false, `filter needs data.items["sku"], but data.items is a list`},
		{`data.customer.?tags.first.orValue(1) == 1`, false, `filter needs data.customer.?tags.first, but data.customer.?tags is a list`},
		{`data.?missing.value() == 1`, false, `filter needs data.?missing.value(), which the event does not have`},

		{`data.currency > 1`, false, `filter cannot be evaluated: operator > does not take values of these types: data.currency > 1`},
		{`data.live && data.amount + 1.0 > 1.0`, false, `filter cannot be evaluated: operator + does not take values of these types: data.amount + 1.0`},
		{`data.amount.startsWith("1")`, false, `filter cannot be evaluated: startsWith does not take values of these types: data.amount.startsWith("1")`},
		{`data.live && data.amount.matches("1")`, false, `filter cannot be evaluated: an operator or function does not take values of these types: data.live && data.amount.matches("1")`},
		{`data.amount / 0 > 1`, false, `filter cannot be evaluated: division by zero: data.amount / 0`},
		{`data.live && 1 in data.amount`, false, `filter cannot be evaluated: operator in does not take values of these types: 1 in data.amount`},
		{`data.currency && true`, false, `filter cannot be evaluated: operator && does not take values of these types: data.currency && true`},
		{`data.items[data.price] == 1`, false, `filter cannot be evaluated: unsupported index value: data.items[data.price]`},
		{`data.amount.exists(i, i == 1)`, false, `filter cannot be evaluated: got 'types.Int', expected iterable type: data.amount.exists(i, i == 1)`},
		{`data.items.exists(i, i.sku > 1)`, false, `filter cannot be evaluated: operator > does not take values of these types: i.sku > 1`},
		{`timestamp(data.currency) > time`, false, `filter cannot be evaluated: invalid RFC 3339 timestamp: timestamp(data.currency)`},
		{`time.getHours(data.currency) > 1`, false, `filter cannot be evaluated: unknown time zone: time.getHours(data.currency)`},
		{`data.currency.substring(2, 1) == ""`, false, `filter cannot be evaluated: invalid substring range: data.currency.substring(2, 1)`},
		{`int(data.currency) > 1`, false, `filter cannot be evaluated: type conversion error from 'string' to 'int': int(data.currency)`},
		{`data.currency`, false, `filter cannot be evaluated: it yields a value of type string, not a bool: data.currency`},
	} {
		m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"events.users.>", subjects}, Filter: test.filter, Endpoints: []string{"b", "a", "b"}})
		got := m.Explain(order())
		if len(got) != 1 || got[0].Subscription != "s" || !slices.Equal(got[0].Endpoints, []string{"b", "a", "b"}) {
			t.Fatalf("%+v", got)
		}
		if got[0].Matched != test.matched || got[0].Reason != test.reason {
			t.Errorf("%s: %v, %s\nwant %v, %s", test.filter, got[0].Matched, got[0].Reason, test.matched, test.reason)
		}
	}
}

func TestExplainSubject(t *testing.T) {
	t.Parallel()
	m := newMatcher(t, Subscription{Name: "s", Subjects: []string{"events.users.>", "events.*"}, Filter: `data.live`, Endpoints: []string{"e"}})
	got := m.Explain(order())[0]
	if want := "no subject pattern matches (events.users.>, events.*)"; got.Matched || got.Reason != want {
		t.Errorf("%+v, want %s", got, want)
	}
}

func TestExplainWithoutData(t *testing.T) {
	t.Parallel()
	m := newMatcher(t, Subscription{Name: "s", Subjects: []string{">"}, Filter: `data.live`, Endpoints: []string{"e"}})
	for data, want := range map[string]string{
		"":                     "filter needs data, but the event has no data",
		"hello":                "filter needs data, but the event's data is not JSON that filters can use: unexpected 'h' (byte 1)",
		`{"live":1,"live":2}`:  `filter needs data, but the event's data is not JSON that filters can use: key "live" occurs twice in an object (byte 19)`,
		"{\"live\":\"\xff\"}":  "filter needs data, but the event's data is not JSON that filters can use: it is not valid UTF-8 (byte 10)",
		strings.Repeat(" ", 3): "filter needs data, but the event's data is not JSON that filters can use: it is empty",
	} {
		if got := m.Explain(&Event{Subject: "a", Data: []byte(data)})[0]; got.Matched || got.Reason != want {
			t.Errorf("%q: %+v\nwant %s", data, got, want)
		}
	}
}
