package gateway

import (
	"strings"
	"testing"
	"time"

	"fanjet/config"
	"fanjet/gateway/match"
)

// Events that are made to cost a filter much do not match it, which is counted
// and said, and hold up neither the other sources nor a stop.
func TestCostlyEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Sources = append(w.cfg.Sources, config.Source{Stream: "OTHERS", Subjects: []string{"others.>"}, Create: true, MaxAge: time.Hour})
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b"))
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "costly", Subjects: []string{"events.>"}, Filter: `data.list.exists(i, data.list.exists(j, i + j == 1))`, Endpoints: []string{"a"}},
		{Name: "value", Subjects: []string{"events.>"}, Filter: `data.list > 1`, Endpoints: []string{"a"}},
		{Name: "others", Subjects: []string{"others.>"}, Endpoints: []string{"b"}},
	}
	logs := w.watched()
	const events = 60
	body := `{"list": [` + strings.TrimSuffix(strings.Repeat("2,", 20_000), ",") + `]}`
	for range events {
		w.publish("events.x", body, nil)
	}
	count := func(reason string) float64 {
		return w.metric("fanjet_filter_errors_total", reason)
	}
	w.waitFor("the costly events are met", func() bool { return count("cost") > 0 })
	w.publish("others.x", "{}", nil)
	w.delivered("b", 1)
	if n := count("cost"); n >= events {
		t.Errorf("the other source was served only after all of %v costly events", n)
	}
	w.waitFor("some more of them are met", func() bool { return count("value") > 1 })
	w.stop()
	if n := len(w.hook.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
	said := logs.FilterMessage("a filter cannot be evaluated; the event does not match it").All()
	if len(said) == 0 || len(said) > 10 || !strings.Contains(said[0].ContextMap()["error"].(string), "more than 1000000 steps") || said[0].ContextMap()["source_event"] != "EVENTS/1" {
		t.Errorf("%v", said)
	}
}
