package gateway

import (
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/internal/control"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// hugeEvent is a body that cannot be moved with our headers.
var hugeEvent = strings.Repeat("x", 1<<20+64<<10)

// standing makes an endpoint ordered, and lets its line stand after two failures.
func standing(e *endpoint.Settings) {
	e.Ordered, e.Block = true, true
	e.Retry.Schedule = []time.Duration{10 * time.Millisecond}
}

// event publishes an event to an endpoint. It is known by the producer's message id,
// by its CloudEvents id, or by its place, in turns.
func (w *storedWorld) event(source, endpoint, body, knownBy string) {
	w.Helper()
	header := nats.Header{"Content-Type": {"text/plain"}}
	switch knownBy {
	case "message id":
		header[nats.MsgIdHdr] = []string{body}
	case "CloudEvents id":
		header["ce-specversion"], header["ce-type"] = []string{"1.0"}, []string{"test"}
		header["ce-source"], header["ce-id"] = []string{"/stored"}, []string{body}
	}
	w.publish(source+"."+endpoint, body, header)
}

// makeStored fills the folder: something waits in every place where anything can
// wait, and every kind of entry is in the state bucket.
func (w *storedWorld) makeStored() {
	w.Helper()
	w.alone(func() {
		if _, err := w.js.CreateStream(w.Context(), jetstream.StreamConfig{Name: "THEIRS", Subjects: []string{"theirs.>"}}); err != nil {
			w.Fatal(err)
		}
	})
	quick := func(e *endpoint.Settings) { e.Retry.Schedule = []time.Duration{10 * time.Millisecond} }
	w.serves(
		w.endpoint("delivered"), w.endpoint("log"), w.endpoint("retry"),
		w.endpoint("due", func(e *endpoint.Settings) { e.Retry.Schedule = []time.Duration{time.Second} }),
		w.endpoint("verdict"), w.endpoint("paused"), w.endpoint("resumed"),
		w.endpoint("ordered", ordered), w.endpoint("line", standing), w.endpoint("skips", standing),
		w.endpoint("rejected"), w.endpoint("exhausted", quick), w.endpoint("large"),
		w.endpoint("expired", func(e *endpoint.Settings) { e.Retry.MaxAge = time.Millisecond }),
		w.endpoint("blocked", func(e *endpoint.Settings) { e.URL = &url.URL{Scheme: "http", Host: "10.1.2.3"} }),
		w.endpoint("gone"), // the last
	)
	w.begin(50*time.Millisecond, time.Hour)
	w.hook.set(func(r request) int {
		switch r.endpoint {
		case "delivered":
			return 200
		case "rejected", "verdict":
			return 410
		}
		return 503
	})
	operator := w.operator()

	w.event("events", "delivered", "delivered 1", "message id")
	w.delivered("delivered", 1)

	for _, name := range []string{"paused", "resumed", "gone"} {
		if _, err := operator.Pause(w.Context(), ann, name, "their maintenance"); err != nil {
			w.Fatal(err)
		}
		w.waitFor("it is paused", func() bool { return statusIn(w.gw, name).State == endpoint.StatePaused })
	}
	if _, err := operator.Resume(w.Context(), ann, "resumed", "it is over", false); err != nil {
		w.Fatal(err)
	}
	w.event("events", "paused", "paused 1", "message id")
	w.event("events", "paused", "paused 2", "place")
	w.waitFor("they wait in the lane", func() bool { return w.laned("paused") == 2 })

	for _, body := range []string{"1", "2", "3"} {
		w.event("events", "line", "line "+body, "message id")
	}
	w.event("events", "skips", "skips 1", "CloudEvents id")
	w.event("events", "skips", "skips 2", "message id")
	for _, endpoint := range []string{"line", "skips"} {
		w.waitFor("the line stands", func() bool { return w.head(endpoint).Stands })
	}
	w.event("events", "ordered", "ordered 1", "message id")
	w.event("events", "ordered", "ordered 2", "message id")
	w.waitFor("the first of the line has failed", func() bool { return w.head("ordered").Attempt == 2 })

	w.event("events", "rejected", "rejected 1", "message id")
	w.event("events", "exhausted", "exhausted 1", "CloudEvents id")
	w.letters(2)
	w.event("events", "exhausted", "exhausted 2", "place")
	w.event("events", "expired", "expired 1", "message id")
	w.event("events", "blocked", "blocked 1", "message id")
	w.publish("theirs.large", hugeEvent, nil)
	w.letters(6)

	w.event("events", "gone", "gone 1", "message id")
	w.waitFor("it waits in the lane", func() bool { return w.laned("gone") == 1 })
	last := len(w.cfg.Endpoints) - 1
	w.reload(w.version(w.cfg.Endpoints[:last], w.cfg.Subscriptions[:last]))
	w.waitFor("the endpoint is missed", func() bool {
		_, err := w.state().Get(w.Context(), "removed.gone")
		return err == nil
	})
	if _, err := state.ClearPause(w.Context(), w.state(), "gone"); err != nil {
		w.Fatal(err)
	}

	w.event("events", "retry", "retry 1", "message id")
	w.waitFor("it waits", func() bool { return w.messages(w.gw.names.RetriesStream()) == 1 })
	w.event("events", "due", "due 1", "place")
	w.waitFor("it waits", func() bool { return w.messages(w.gw.names.RetriesStream()) == 2 })
	w.limitLetters(1) // what is dead now waits as a schedule
	w.event("events", "verdict", "verdict 1", "message id")
	w.waitFor("it waits", func() bool { return w.messages(w.gw.names.RetriesStream()) == 3 })
	w.limitLetters(-1)

	w.hook.block("log")
	w.event("events", "log", "log 1", "message id")
	w.waitFor("it is under way", func() bool { return statusIn(w.gw, "log").InFlight == 1 })
	w.stop()
	w.stop = func() {}

	w.alone(w.makeWithoutGateway)
}

// makeWithoutGateway does what waits for a gateway then.
func (w *storedWorld) makeWithoutGateway() {
	// The record of what operators did is kept for 90 days; this one for ever.
	record := w.config(w.gw.names.AuditStream())
	record.MaxAge = 0
	w.update(record)

	w.event("events", "later", "later 1", "place")
	w.event("events", "later", "later 2", "CloudEvents id")

	if _, err := w.operator().Resume(w.Context(), ann, "skips", "it is broken", true); err != nil {
		w.Fatal(err)
	}
	letters, err := control.OpenLetters(w.Context(), w.operator())
	if err != nil {
		w.Fatal(err)
	}
	// The first of the two.
	report, err := letters.Replay(w.Context(), control.Act{By: ann, Selected: 1}, dlq.Filter{Endpoint: "exhausted", Limit: 1}, control.Outlook{}, dlq.ReplayOptions{})
	if err != nil || report.Done != 1 {
		w.Fatalf("%+v, %v", report, err)
	}
	retries, err := w.js.Stream(w.Context(), w.gw.names.RetriesStream())
	if err != nil {
		w.Fatal(err)
	}
	w.waitFor("a schedule has fired", func() bool { return w.subjectCount(retries, w.gw.names.DueSubject("due")) == 1 })
}

// laned is how many deliveries wait in the lane of an endpoint.
func (w *storedWorld) laned(endpoint string) uint64 {
	w.Helper()
	stream, err := w.js.Stream(w.Context(), w.gw.names.LanesStream())
	if err != nil {
		w.Fatal(err)
	}
	return w.subjectCount(stream, w.gw.names.LaneSubject(endpoint))
}

// limitLetters sets the size of the largest letter that is taken.
func (w *storedWorld) limitLetters(size int32) {
	w.Helper()
	letters := w.config(w.gw.names.DeadLettersStream())
	letters.MaxMsgSize = size
	w.update(letters)
}

func (w *storedWorld) config(stream string) jetstream.StreamConfig {
	w.Helper()
	s, err := w.js.Stream(w.Context(), stream)
	if err != nil {
		w.Fatal(err)
	}
	return s.CachedInfo().Config
}

func (w *storedWorld) update(config jetstream.StreamConfig) {
	w.Helper()
	if _, err := w.js.UpdateStream(w.Context(), config); err != nil {
		w.Fatal(err)
	}
}
