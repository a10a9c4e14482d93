package config

import (
	"bytes"
	"fmt"
	"testing"
)

// large is a configuration with n endpoints and n subscriptions, each to one
// endpoint of its own. Every second subscription has a filter; distinct says
// that no two are the same.
func large(n int, distinct bool) []byte {
	var b bytes.Buffer
	b.WriteString("version: 1\ndefaults:\n  secrets: [env:GOOD]\nendpoints:\n")
	for i := range n {
		fmt.Fprintf(&b, "  tenant-%05d:\n    url: https://tenant-%05d.example.com/hooks/fanjet\n    headers: {X-Tenant: \"%05d\"}\n", i, i, i)
		fmt.Fprintf(&b, "    max_in_flight: 8\n    retry:\n      schedule: [5s, 30s, 2m]\n")
	}
	b.WriteString("subscriptions:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: orders-of-tenant-%05d\n    subjects: [\"events.tenant-%05d.orders.*\"]\n    endpoints: [tenant-%05d]\n", i, i, i)
		amount := 1000
		if distinct {
			amount += i
		}
		if i%2 == 0 {
			fmt.Fprintf(&b, "    filter: data.amount > %d && data.currency == \"EUR\"\n", amount)
		}
	}
	return b.Bytes()
}

// BenchmarkLoad reads and checks a configuration of 10,000 endpoints and
// 10,000 subscriptions, half of them with a filter.
func BenchmarkLoad(b *testing.B) {
	for _, bench := range []struct {
		name     string
		distinct bool
	}{{"one filter", false}, {"distinct filters", true}} {
		b.Run(bench.name, func(b *testing.B) {
			text := large(10_000, bench.distinct)
			files := files{read: func(string) ([]byte, error) { return text, nil }}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := load("fanjet.yaml", Options{LookupEnv: environment}, files); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
