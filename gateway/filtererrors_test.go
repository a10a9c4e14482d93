package gateway

import (
	"strings"
	"testing"

	"fanjet/gateway/match"
)

// An event that filters cannot read is told of: each subscription that needed its
// data counts, and one line of the log has its place and the reason, and nothing of
// it. Who can do without the data gets the event, as it came.
func TestUnreadableEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body, reason string
		at                 int64
	}{
		{"not JSON", "sekret", "unexpected character", 1},
		{"empty", "", "it is empty", 0},
		{"a trailing comma", `{"sekret": 1,}`, "unexpected character", 14},
		{"no number", `{"sekret": NaN}`, "unexpected character", 12},
		{"a key twice", `{"sekret": 1, "sekret": 1}`, "a key occurs twice in an object", 26},
		{"not UTF-8", "{\"sekret\": \"\xe9\"}", "it is not valid UTF-8", 13},
		{"too deep", strings.Repeat(`{"sekret":`, 2000), "it is nested deeper than 1000 levels", 10001},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b"))
			w.cfg.Subscriptions = []match.Subscription{
				{Name: "one", Subjects: []string{"events.>"}, Filter: `data.sekret == 1`, Endpoints: []string{"a"}},
				{Name: "two", Subjects: []string{"events.>"}, Filter: `!has(data.other)`, Endpoints: []string{"a"}},
				{Name: "elsewhere", Subjects: []string{"events.y"}, Filter: `data.sekret == 1`, Endpoints: []string{"a"}},
				{Name: "without", Subjects: []string{"events.>"}, Filter: `subject == "events.x" || data.sekret == 1`, Endpoints: []string{"b"}},
			}
			logs := w.watched()
			w.publish("events.x", tt.body, nil)
			if got := w.delivered("b", 1)[0].body; got != tt.body {
				t.Errorf("delivered %q", got)
			}
			w.publish("events.x", "\ufeff{\"sekret\": 1}", nil)
			if got := w.delivered("a", 1)[0].body; got != "\ufeff{\"sekret\": 1}" {
				t.Errorf("delivered %q", got)
			}
			w.stop()
			if n := w.metric("fanjet_filter_errors_total", "unreadable"); n != 2 {
				t.Errorf("%v subscriptions are counted", n)
			}
			said := logs.FilterMessage("a filter cannot read this event").All()
			if len(said) != 1 {
				t.Fatalf("%v", said)
			}
			fields := said[0].ContextMap()
			for name, want := range map[string]any{
				"source": "EVENTS", "source_event": "EVENTS/1", "reason": tt.reason, "byte": tt.at, "subscription": "one", "subscriptions": int64(2),
			} {
				if fields[name] != want {
					t.Errorf("%s: %v, want %v", name, fields[name], want)
				}
			}
			for _, entry := range logs.All() {
				for name, value := range entry.ContextMap() {
					if text, ok := value.(string); ok && strings.Contains(text, "sekret") {
						t.Errorf("%s: %s: %s", entry.Message, name, text)
					}
				}
			}
		})
	}
}

// A body that filters cannot read makes one line of the log for each event, not for
// each filter, and few of them.
func TestUnreadableEventsAreSampled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "one", Subjects: []string{"events.>"}, Filter: `data.n == 1`, Endpoints: []string{"a"}},
		{Name: "two", Subjects: []string{"events.>"}, Filter: `data.n == 2`, Endpoints: []string{"a"}},
	}
	logs := w.watched()
	const events = 50
	for range events {
		w.publish("events.x", "no JSON", nil)
	}
	w.waitFor("all are counted", func() bool {
		return w.metric("fanjet_filter_errors_total", "unreadable") == 2*events
	})
	w.stop()
	if n := logs.FilterMessage("a filter cannot read this event").Len(); n < 1 || n > 10 {
		t.Errorf("%d lines", n)
	}
}
