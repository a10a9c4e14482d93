package config

import (
	"slices"
	"strings"
	"testing"
)

// What is no error and surely not what was meant is warned of, where it is, and only that.
func TestDoubtful(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		nats, sources, a, subscriptions string
		want                            []string // places, and parts of what is said there
	}{
		"nothing":                {},
		"url and embedded":       {nats: "{url: nats.example.com, embedded: {store_dir: data}}", want: []string{":2:41: nats.embedded: has no effect beside nats.url"}},
		"url and empty embedded": {nats: "{url: nats.example.com, embedded: {}}"},
		"embedded and no url":    {nats: `{url: "", embedded: {store_dir: data}}`},
		"a source that nobody reads": {
			sources: "[{stream: A, subjects: [events.>]}, {stream: B, subjects: [orders.*, jobs.>]}]",
			want:    []string{":3:46: sources[1]: no subscription takes events of this source: they are read and dropped; subscribe to orders.*"},
		},
		"a source that is read in part": {sources: "[{stream: A, subjects: [events.x.y, jobs.>]}]"},
		"a source with any subjects": {
			sources: "[{stream: A, create: false}]",
			want:    []string{":3:11: sources[0]: names no subjects: only operators can publish"},
		},
		"a falling schedule": {
			a:    "retry: {schedule: [5s, 1m, 30s, 10s]}",
			want: []string{":5:86: endpoints.a.retry.schedule[2]: is shorter than the wait before it, 1m"},
		},
		"an even schedule": {a: "retry: {schedule: [5s, 5s, 1m]}"},
		"statuses that pass": {
			a: "dead_letter_on: [400, 429, 408, 503, 501]",
			want: []string{
				":5:81: endpoints.a.dead_letter_on[1]: dead-letters what the receiver wants later",
				":5:86: endpoints.a.dead_letter_on[2]: dead-letters at the first attempt",
				":5:91: endpoints.a.dead_letter_on[3]: dead-letters at the first attempt",
			},
		},
		"an ordered endpoint with a circuit": {
			a:    "ordered: true, circuit: {failures: 3}",
			want: []string{":5:83: endpoints.a.circuit: never opens"},
		},
		"an ordered endpoint without one": {a: "ordered: true, circuit: {failures: 0}"},
		"a circuit":                       {a: "circuit: {failures: 3}"},
		"wildcards of others": {
			sources: `[{stream: A, subjects: ["events.#"]}]`,
			subscriptions: `
  - {name: one, subjects: ["events.#", "events.+.x"], endpoints: [a, b]}`,
			want: []string{
				":3:34: sources[0].subjects[0]: # is no wildcard in NATS",
				":8:28: subscriptions[0].subjects[0]: # is no wildcard in NATS",
				":8:40: subscriptions[0].subjects[1]: + is no wildcard in NATS",
				":8:40: subscriptions[0].subjects[1]: events.+.x matches nothing",
			},
		},
		"words with such characters": {subscriptions: `
  - {name: one, subjects: ["events.c#", "events.a+b.x"], endpoints: [a, b]}`},
		"filters that are constant": {
			subscriptions: `
  - {name: one, subjects: [events.>], filter: 'tokens[0] == "orders"', endpoints: [a, b]}
  - {name: two, subjects: [events.>], filter: 'tokens[0] == "events"', endpoints: [a, b]}
  - {name: three, subjects: [events.>], filter: 'tokens[1] == "orders"', endpoints: [a, b]}`,
			want: []string{
				":8:47: subscriptions[0].filter: is false for every event",
				":9:47: subscriptions[1].filter: is true for every event",
			},
		},
		"the same subscription twice": {
			subscriptions: `
  - {name: one, subjects: [events.a, events.b], filter: "data.x > 1", endpoints: [a, b]}
  - {name: two, subjects: [events.b, events.a], filter: " data.x > 1 ", endpoints: [b, a]}`,
			want: []string{":9:5: subscriptions[1]: has the subjects, filter and endpoints of the subscription at "},
		},
		"subscriptions that differ": {
			subscriptions: `
  - {name: one, subjects: [events.a], filter: "data.x > 1", endpoints: [a, b]}
  - {name: two, subjects: [events.a], filter: "data.x > 2", endpoints: [a, b]}
  - {name: three, subjects: [events.b], filter: "data.x > 1", endpoints: [a, b]}
  - {name: four, subjects: [events.a], filter: "data.x > 1", endpoints: [a]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			or := func(text, other string) string {
				if text == "" {
					return other
				}
				return text
			}
			path := write(t, `version: 1
nats: `+or(tt.nats, "{}")+`
sources: `+or(tt.sources, "[{stream: A, subjects: [events.>]}]")+`
endpoints:
  a: {url: "https://a.example.com/", secrets: [env:GOOD]`+or(strings.Repeat(", ", min(1, len(tt.a)))+tt.a, "")+`}
  b: {url: "https://b.example.com/", secrets: [env:GOOD]}
subscriptions:`+or(tt.subscriptions, `
  - {name: one, subjects: [events.x.>], endpoints: [a, b]}`)+`
`)
			var got []string
			for _, w := range mustLoad(t, path, Options{}).Warnings {
				got = append(got, strings.TrimPrefix(w.String(), path))
			}
			if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
				t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
