package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/control"
	"fanjet/internal/intake"
)

func TestGaps(t *testing.T) {
	t.Parallel()
	life, again := time.Unix(1, 0), time.Unix(2, 0)
	event := func(delivery, sequence, deliveries uint64) *intake.Message {
		return &intake.Message{Delivery: delivery, Sequence: sequence, Deliveries: deliveries}
	}
	type events = []*intake.Message
	cursor := &position{Created: life, Sequence: 10, Delivery: 10}
	for name, tt := range map[string]struct {
		cursor *position
		first  uint64
		events events
		want   string // after, before, missed, exact
	}{
		"in order":                       {events: events{event(1, 1, 1), event(2, 2, 1), event(3, 3, 1)}},
		"nothing is known before":        {events: events{event(1, 7, 1), event(2, 8, 1)}},
		"while it runs":                  {events: events{event(1, 1, 1), event(2, 5, 1)}, want: "[1 5 3 true]"},
		"sent again":                     {events: events{event(1, 1, 1), event(2, 2, 1), event(3, 1, 2), event(4, 2, 2), event(5, 3, 1)}},
		"sent again to us only":          {events: events{event(8, 4, 2), event(9, 3, 2), event(10, 5, 1), event(11, 7, 1)}, want: "[5 7 1 true]"},
		"sent again after a crash":       {events: events{event(300, 44, 2), event(301, 253, 1), event(302, 255, 1)}, want: "[253 255 1 true]"},
		"sent again after a cursor":      {cursor: cursor, first: 1, events: events{event(300, 11, 2), event(301, 253, 1), event(302, 255, 1)}, want: "[253 255 1 true]"},
		"after a restart":                {cursor: cursor, events: events{event(11, 11, 1)}},
		"before a restart":               {cursor: cursor, events: events{event(11, 15, 1)}, want: "[10 15 4 true]"},
		"handed back at the stop":        {cursor: cursor, events: events{event(13, 11, 2), event(14, 12, 2), event(15, 13, 1)}},
		"a cursor of an earlier version": {cursor: &position{Created: life, Sequence: 10}, events: events{event(11, 15, 1)}},
		"a cursor of another life":       {cursor: &position{Created: again, Sequence: 10, Delivery: 10}, events: events{event(11, 15, 1)}},
		"another matcher had them":       {cursor: cursor, first: 1, events: events{event(15, 15, 1), event(16, 16, 1)}},
		"another matcher missed them":    {cursor: cursor, first: 1, events: events{event(15, 19, 1)}, want: "[10 19 4 false]"},
		"a dead one took them with it":   {cursor: cursor, first: 15, events: events{event(15, 15, 1)}, want: "[10 15 4 false]"},
		"the consumer was made anew":     {cursor: cursor, events: events{event(1, 3, 1), event(2, 4, 1), event(3, 11, 1)}, want: ""},
		"anew, and events are gone":      {cursor: cursor, events: events{event(1, 14, 1), event(2, 15, 1)}, want: "[10 14 3 true]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			g := gaps{
				forget: make(chan struct{}, 1),
				cursor: func(context.Context) (*position, error) { return tt.cursor, nil },
				first:  func(context.Context) (uint64, error) { return tt.first, nil },
				report: func(after, before, missed uint64, exact bool) { got += fmt.Sprint([]any{after, before, missed, exact}) },
			}
			for _, e := range tt.events {
				g.look(t.Context(), life, e)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			// A stream that lost its end begins anew, whatever the cursor says.
			got = ""
			g.cursor = func(context.Context) (*position, error) { return nil, errors.New("not asked for") }
			g.sequencesWentBack()
			g.sequencesWentBack() // twice is once
			g.look(t.Context(), life, event(100, 90, 1))
			g.look(t.Context(), life, event(101, 92, 1))
			if got != "[90 92 1 true]" {
				t.Errorf("after the sequences went back: %s", got)
			}
		})
	}
}

// watched starts a gateway whose log is looked at.
func (w *world) watched() *observer.ObservedLogs {
	w.Helper()
	core, logs := observer.New(zap.WarnLevel)
	gw, err := New(Options{Config: w.cfg, Log: zap.New(core), Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	w.gw, w.stop = gw, w.launch(gw)
	return logs
}

func (w *world) missed() float64 {
	return testutil.ToFloat64(w.gw.metrics.missed.WithLabelValues("EVENTS"))
}

const leftTheStream = "events left the stream before they were fanned out"

// Events that somebody purges before they are matched are counted, to the last
// one, and said aloud. The gateway stays ready: it can make progress.
func TestPurgedEventsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publishMany("events.x", 5)
	w.delivered("a", 5)
	w.quiet()
	w.stop()

	w.publishMany("events.x", 10)
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(5+1+4)); err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	logs := w.watched()
	w.delivered("a", 5+5)
	w.waitFor("they are counted", func() bool { return w.missed() == 5 })
	if reports, _, err := control.Statuses(t.Context(), w.js.Conn(), w.gw.names); err != nil || len(reports) != 1 || reports[0].EventsMissed != 5 {
		t.Errorf("commands are told %+v, %v", reports, err)
	}
	said := logs.FilterMessage(leftTheStream).All()
	if len(said) != 2 || said[0].ContextMap()["missed"] != uint64(4) || said[0].ContextMap()["exact"] != true || said[0].ContextMap()["after"] != uint64(5) {
		t.Errorf("%v", said)
	}
	if err := w.gw.Ready(); err != nil {
		t.Error(err)
	}
	w.quiet()
	if n := len(w.hook.all()); n != 10 {
		t.Errorf("%d requests", n)
	}
}

// Events whose max_age is over before a matcher gets to them are counted.
func TestMaxAgeOvertakesTheMatcher(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "before", nil)
	w.delivered("a", 1)
	w.quiet()
	w.stop()
	w.publishMany("events.x", 7)
	maxAge := func(age time.Duration) {
		stream, err := w.js.Stream(t.Context(), "EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		config.MaxAge, config.Duplicates = age, min(age, config.Duplicates)
		if _, err := w.js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	maxAge(200 * time.Millisecond)
	w.waitFor("the stream is empty", func() bool { return w.messages("EVENTS") == 0 })
	maxAge(w.cfg.Sources[0].MaxAge) // or the next one might go before it is matched
	logs := w.watched()
	w.publish("events.x", "after", nil)
	w.delivered("a", 2)
	w.waitFor("they are counted", func() bool { return w.missed() == 7 })
	if n := logs.FilterMessage(leftTheStream).Len(); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// A matcher that runs notices events that are gone as well: those that waited
// behind a window that is full.
func TestEventsGoneWhileRunningAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "first", nil)
	w.delivered("a", 1)
	w.quiet()
	consumer := w.gw.names.MatchConsumer()
	if _, err := w.js.PauseConsumer(t.Context(), "EVENTS", consumer, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.publishMany("events.x", 6)
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{2, 4, 5} {
		if err := stream.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.js.ResumeConsumer(t.Context(), "EVENTS", consumer); err != nil {
		t.Fatal(err)
	}
	w.delivered("a", 1+3)
	w.waitFor("they are counted", func() bool { return w.missed() == 3 })
}
