package gateway

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/control"
)

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
	return w.metric("fanjet_events_missed_total", "EVENTS")
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
