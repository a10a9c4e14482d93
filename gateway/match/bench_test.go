package match

import (
	"fmt"
	"strings"
	"testing"
)

// kilobyte is an event of a common shape, 1 KiB of JSON.
func kilobyte() []byte {
	const head = `{"id":"ord_29384756","type":"order.paid","amount":1250,"currency":"EUR","live":true,` +
		`"customer":{"id":"cus_5512","tier":"gold","email":"someone@example.com","address":{"city":"Lyon","zip":"69001"}},` +
		`"items":[{"sku":"A-100","qty":2,"price":499.5},{"sku":"B-200","qty":1,"price":251}],"tags":["new","web"],"note":"`
	const tail = `"}`
	return []byte(head + strings.Repeat("x", 1024-len(head)-len(tail)) + tail)
}

// subscriptionsOf returns n subscriptions with a filter, of which the
// subjects of every hundredth, but at least one, match events.orders.42.paid.
func subscriptionsOf(n int, filter string) []Subscription {
	subs := make([]Subscription, n)
	for i := range subs {
		subs[i] = Subscription{
			Name:      fmt.Sprintf("s%d", i),
			Subjects:  []string{fmt.Sprintf("events.tenant%d.*.paid", i)},
			Filter:    filter,
			Endpoints: []string{fmt.Sprintf("e%d", i)},
		}
		if i%100 == 0 {
			subs[i].Subjects = []string{"events.orders.*.paid"}
		}
	}
	return subs
}

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct {
		name, filter string
	}{
		{"subjects", ""},
		{"data", `data.amount > 1000 && data.currency == "EUR"`},
	} {
		for _, n := range []int{1, 10, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, n), func(b *testing.B) {
				m, err := New(subscriptionsOf(n, bench.filter))
				if err != nil {
					b.Fatal(err)
				}
				ev := &Event{Subject: "events.orders.42.paid", Data: kilobyte()}
				dst := make([]string, 0, 1024)
				b.ReportAllocs()
				for b.Loop() {
					if dst = m.Match(ev, dst[:0], nil); len(dst) == 0 {
						b.Fatal("no endpoint")
					}
				}
			})
		}
	}
}

// BenchmarkMatchLarge matches an event against 10,000 subscriptions of tenants,
// each to an endpoint of its own. Of these the subjects of few fit the event, as
// is common: that of one tenant; that and a wildcard in its place; that and ten
// subscriptions to everything whose filter decides, of which one passes.
func BenchmarkMatchLarge(b *testing.B) {
	const n = 10_000
	for _, bench := range []struct {
		name    string
		subject string // of each, with the tenant's number
		add     func(i int) Subscription
		added   int
		want    int
	}{
		{name: "exact", subject: "events.tenant%d.orders.paid", want: 1},
		{name: "wildcards", subject: "events.tenant%d.*.paid", added: 1, want: 2, add: func(int) Subscription {
			return Subscription{Subjects: []string{"events.*.orders.>"}}
		}},
		{name: "filters", subject: "events.tenant%d.>", added: 10, want: 2, add: func(i int) Subscription {
			return Subscription{Subjects: []string{"events.>"}, Filter: fmt.Sprintf("data.amount == %d", 1245+i)}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			subs := make([]Subscription, n)
			for i := range subs {
				subs[i] = Subscription{Subjects: []string{fmt.Sprintf(bench.subject, i)}}
				if i < bench.added {
					subs[i] = bench.add(i)
				}
				subs[i].Name, subs[i].Endpoints = fmt.Sprintf("s%d", i), []string{fmt.Sprintf("e%d", i)}
			}
			m, err := New(subs)
			if err != nil {
				b.Fatal(err)
			}
			ev := &Event{Subject: "events.tenant5000.orders.paid", Data: kilobyte()}
			dst := make([]string, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				if dst = m.Match(ev, dst[:0], nil); len(dst) != bench.want {
					b.Fatalf("%d endpoints, want %d", len(dst), bench.want)
				}
			}
		})
	}
}

// BenchmarkFilter is one evaluation of one filter, with the data parsed anew.
func BenchmarkFilter(b *testing.B) {
	language, err := filters()
	if err != nil {
		b.Fatal(err)
	}
	for _, filter := range []string{
		`subject.startsWith("events.")`,
		`headers["X-Tenant"] == "acme"`,
		`data.amount > 1000`,
		`data.customer.tier in ["gold", "silver"] && data.live`,
		`data.items.exists(i, i.sku == "B-200")`,
	} {
		b.Run(filter, func(b *testing.B) {
			f, err := language.filter(filter)
			if err != nil {
				b.Fatal(err)
			}
			ev := &Event{
				Subject: "events.orders.42.paid",
				Header:  map[string][]string{"X-Tenant": {"acme"}, "Content-Type": {"application/json"}},
				Data:    kilobyte(),
			}
			var vars variables
			b.ReportAllocs()
			for b.Loop() {
				vars.event = ev
				if out, err := f.run(&vars); out != passed {
					b.Fatal(out, err)
				}
				vars.reset()
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	data := kilobyte()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	subs := subscriptionsOf(100, "")
	for i := range subs {
		subs[i].Filter = fmt.Sprintf("data.tenant == %d && data.amount > 1000", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(subs); err != nil {
			b.Fatal(err)
		}
	}
}
