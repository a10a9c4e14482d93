package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/internal/wire"
)

// foreignSources makes streams of somebody else, and a world whose sources are
// those that are named. Endpoint "a" gets everything.
func foreignSources(t *testing.T, streams []jetstream.StreamConfig, sources ...string) *world {
	t.Helper()
	w := newWorld(t)
	for _, s := range streams {
		if _, err := w.js.CreateStream(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
	}
	w.cfg.Sources = nil
	for _, name := range sources {
		w.cfg.Sources = append(w.cfg.Sources, config.Source{Stream: name})
	}
	w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{">"}, Endpoints: []string{"a"}}}
	return w
}

func from(names ...string) (sources []*jetstream.StreamSource) {
	for _, name := range names {
		sources = append(sources, &jetstream.StreamSource{Name: name})
	}
	return sources
}

// idsBySubject are the webhook-ids that an endpoint got on each subject.
func (w *world) idsBySubject(endpoint string) map[string][]string {
	ids := map[string][]string{}
	for _, r := range w.hook.got(endpoint) {
		ids[r.subject] = append(ids[r.subject], r.id)
	}
	return ids
}

// Producers of streams that are aggregated know nothing of each other: the same
// Nats-Msg-Id is not the same event, in an aggregate, in one of aggregates, and in
// the mirror of one.
func TestAggregatedProducersUseOneID(t *testing.T) {
	t.Parallel()
	streams := []jetstream.StreamConfig{
		{Name: "SHOP", Subjects: []string{"shop.>"}},
		{Name: "STORE", Subjects: []string{"store.>"}},
		{Name: "ALL", Subjects: []string{"own.>"}, Sources: from("SHOP", "STORE")},
		{Name: "CHAIN", Sources: from("ALL")},
		{Name: "COPY", Mirror: from("ALL")[0]},
	}
	for _, source := range []string{"ALL", "CHAIN", "COPY"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			w := foreignSources(t, streams, source)
			w.start()
			for _, subject := range []string{"shop.paid", "store.paid", "own.paid"} {
				w.publish(subject, "{}", nats.Header{nats.MsgIdHdr: {"order-1"}})
			}
			w.delivered("a", 3)
			w.quietSource(source)
			first := w.idsBySubject("a")
			var ids []string
			for _, got := range first {
				ids = append(ids, got...)
			}
			slices.Sort(ids)
			if len(first) != 3 || len(ids) != 3 || len(slices.Compact(ids)) != 3 {
				t.Fatalf("ids by subject: %v; want three of them", first)
			}
			if source == "ALL" {
				if got, want := first["own.paid"][0], wire.EventID(nats.Header{nats.MsgIdHdr: {"order-1"}}, nil, wire.Position{Stream: "ALL"}, false); got != want {
					t.Errorf("an event that was published into the aggregate itself: %s, want %s as ever", got, want)
				}
			}
			if source != "CHAIN" {
				return // a mirror has the sequences and times of its origin, so that nothing is fanned out twice
			}
			// Taken over again, each is the same event as before.
			w.stop()
			if err := w.js.DeleteStream(t.Context(), source); err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(streams, func(s jetstream.StreamConfig) bool { return s.Name == source })
			if _, err := w.js.CreateStream(t.Context(), streams[i]); err != nil {
				t.Fatal(err)
			}
			w.start()
			w.delivered("a", 6)
			for subject, got := range w.idsBySubject("a") {
				if len(got) != 2 || got[0] != got[1] {
					t.Errorf("%s, taken over twice, has the ids %v", subject, got)
				}
			}
		})
	}
}

// nothingWaits waits until no delivery waits for its first attempt.
func (w *world) nothingWaits() {
	w.Helper()
	w.waitFor("no delivery waits", func() bool {
		consumer, err := w.js.Consumer(w.Context(), w.gw.names.DeliveriesStream(), w.gw.names.DeliverConsumer())
		return err == nil && consumer.CachedInfo().NumAckPending == 0 && consumer.CachedInfo().NumPending == 0
	})
}

// quietSource waits until all that a source has is settled.
func (w *world) quietSource(stream string) {
	w.Helper()
	w.waitFor(stream+" has nothing pending", func() bool {
		consumer, err := w.js.Consumer(w.Context(), stream, w.gw.names.MatchConsumer())
		return err == nil && consumer.CachedInfo().NumAckPending == 0 && consumer.CachedInfo().NumPending == 0
	})
}

// The copy of a stream that is filled by its producers keeps the identities that it
// has always had.
func TestMirrorKeepsIdentities(t *testing.T) {
	t.Parallel()
	w := foreignSources(t, []jetstream.StreamConfig{
		{Name: "SHOP", Subjects: []string{"shop.>"}},
		{Name: "COPY", Mirror: from("SHOP")[0]},
	}, "COPY")
	w.start()
	header := nats.Header{nats.MsgIdHdr: {"order-1"}}
	w.publish("shop.paid", "{}", header)
	want := wire.EventID(header, nil, wire.Position{Stream: "COPY"}, false)
	if got := w.delivered("a", 1)[0].id; got != want {
		t.Errorf("webhook-id %s, want %s", got, want)
	}
}

// A stream that becomes an aggregate while a gateway runs, and one that begins to
// take schedules: what it is counts, not what it was at the start.
func TestSourceChangesItsNature(t *testing.T) {
	t.Parallel()
	w := foreignSources(t, []jetstream.StreamConfig{
		{Name: "SHOP", Subjects: []string{"shop.>"}},
		{Name: "STORE", Subjects: []string{"store.>"}},
		{Name: "ALL", Subjects: []string{"own.>"}},
		{Name: "LATER", Subjects: []string{"later.>"}},
	}, "ALL", "LATER")
	w.start()
	w.publish("own.first", "{}", nil)
	w.publish("later.first", "{}", nil)
	w.delivered("a", 2)
	if _, err := w.js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "ALL", Subjects: []string{"own.>"}, Sources: from("SHOP", "STORE")}); err != nil {
		t.Fatal(err)
	}
	later := jetstream.StreamConfig{Name: "LATER", Subjects: []string{"later.>"}, AllowRollup: true, AllowMsgSchedules: true}
	if _, err := w.js.UpdateStream(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	w.publish("later.schedule", "not yet", scheduled(time.Hour, "later.fired"))
	w.publish("later.second", "{}", nil)
	for _, subject := range []string{"shop.paid", "store.paid"} {
		w.publish(subject, "{}", nats.Header{nats.MsgIdHdr: {"order-1"}})
	}
	w.delivered("a", 5)
	if ids := w.idsBySubject("a"); ids["shop.paid"][0] == ids["store.paid"][0] {
		t.Error("two events have one webhook-id")
	}
	w.quietSource("LATER")
	if got := w.idsBySubject("a")["later.schedule"]; len(got) != 0 {
		t.Errorf("a schedule was POSTed as %v", got)
	}
	if n := w.metric("fanjet_messages_ignored_total", "LATER", "schedule"); n != 1 {
		t.Errorf("%v schedules are counted", n)
	}
}

func scheduled(in time.Duration, target string) nats.Header {
	return nats.Header{jetstream.ScheduleHeader: {"@at " + time.Now().Add(in).UTC().Format(time.RFC3339Nano)}, "Nats-Schedule-Target": {target}}
}

// A schedule is no event yet, and what the server writes in place of a message that
// expired is none at all; in the stream, and wherever others take it over. What the
// schedule fires is an event, once.
func TestWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	sources := []string{"TIMED", "COPY", "ALL"}
	w := foreignSources(t, []jetstream.StreamConfig{
		{Name: "TIMED", Subjects: []string{"timed.>"}, AllowRollup: true, AllowMsgSchedules: true, AllowMsgTTL: true, SubjectDeleteMarkerTTL: 2 * time.Second},
		{Name: "COPY", Mirror: from("TIMED")[0]},
		{Name: "ALL", Sources: from("TIMED")},
	}, sources...)
	w.start()
	w.publish("timed.plain", "plain", nil)
	w.publish("timed.schedule", "fires", scheduled(2*time.Second, "timed.fired"))
	w.publish("timed.expires", "short", nats.Header{jetstream.MsgTTLHeader: {"1s"}})
	// A producer's own, in a stream that allows markers: it has a body, or headers
	// of a client.
	w.publish("timed.forged.body", "body", nats.Header{jetstream.MarkerReasonHeader: {"MaxAge"}})
	w.publish("timed.forged.id", "", nats.Header{jetstream.MarkerReasonHeader: {"MaxAge"}, nats.MsgIdHdr: {"1"}})
	w.publish("timed.forged.reason", "", nats.Header{jetstream.MarkerReasonHeader: {"Boredom"}})
	w.publish("timed.target", "no schedule", nats.Header{"Nats-Schedule-Target": {"timed.fired"}})
	w.publish("timed.spelling", "no schedule either", nats.Header{strings.ToLower(jetstream.ScheduleHeader): {"@every 1s"}})
	w.publish("timed.rollup", "an event", nats.Header{jetstream.MsgRollup: {"sub"}})
	count := func(source, reason string) float64 {
		return w.metric("fanjet_messages_ignored_total", source, reason)
	}
	for _, source := range sources {
		w.waitFor("the marker of "+source+" is seen", func() bool { return count(source, "delete_marker") > 0 })
		w.waitFor("the schedule of "+source+" has fired", func() bool {
			s, err := w.js.Stream(t.Context(), source)
			if err != nil {
				return false
			}
			_, err = s.GetLastMsgForSubject(t.Context(), "timed.fired")
			return err == nil
		})
		w.quietSource(source)
		if schedules, markers := count(source, "schedule"), count(source, "delete_marker"); schedules != 1 || markers != 1 {
			t.Errorf("%s: %v schedules and %v delete markers are counted", source, schedules, markers)
		}
	}
	const events = 9 // of each source
	w.delivered("a", len(sources)*events)
	w.nothingWaits()
	bodies := map[string][]string{}
	for _, r := range w.hook.got("a") {
		bodies[r.subject] = append(bodies[r.subject], r.body)
	}
	for subject, want := range map[string]string{
		"timed.plain": "plain", "timed.fired": "fires", "timed.expires": "short", "timed.forged.body": "body", "timed.forged.id": "",
		"timed.forged.reason": "", "timed.target": "no schedule", "timed.spelling": "no schedule either", "timed.rollup": "an event",
	} {
		if got := bodies[subject]; !slices.Equal(got, []string{want, want, want}) {
			t.Errorf("%s: %q was POSTed, want %q once for each source", subject, got, want)
		}
		delete(bodies, subject)
	}
	if len(bodies) != 0 {
		t.Errorf("these are no events: %q", bodies)
	}
}

// Where a stream does nothing of the kind, a header hides no event.
func TestHeadersHideNoEvent(t *testing.T) {
	t.Parallel()
	w := foreignSources(t, []jetstream.StreamConfig{
		{Name: "PLAIN", Subjects: []string{"plain.>"}},
		{Name: "ROLLUP", Subjects: []string{"rollup.>"}, AllowRollup: true, AllowMsgTTL: true},
	}, "PLAIN", "ROLLUP")
	w.start()
	w.publish("plain.marker", "", nats.Header{jetstream.MarkerReasonHeader: {"MaxAge"}})
	w.publish("plain.removed", "body", nats.Header{jetstream.MarkerReasonHeader: {"Remove"}})
	w.publish("plain.schedule", "empty", nats.Header{jetstream.ScheduleHeader: {""}})
	w.publish("rollup.marker", "", nats.Header{jetstream.MarkerReasonHeader: {"MaxAge"}, jetstream.MsgRollup: {"sub"}, jetstream.MsgTTLHeader: {"1h"}})
	w.delivered("a", 4)
	w.quietSource("PLAIN")
	w.quietSource("ROLLUP")
	w.nothingWaits()
	if got := w.idsBySubject("a"); len(got) != 4 {
		t.Errorf("delivered: %v", got)
	}
}
