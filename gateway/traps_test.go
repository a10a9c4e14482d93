package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/gateway/topology"
	"fanjet/internal/wire"
)

// What a producer stored among its headers steers neither JetStream nor
// Fanjet.
func TestProducersHeadersSteerNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "0", nats.Header{"Nats-Expected-Stream": {"EVENTS"}})
	w.publish("events.x", "1", nats.Header{"Fanjet-Attempt": {"99"}, "Fanjet-Endpoint": {"other"}, "fanjet-generation": {"7"}})
	w.publish("events.x", "2", nats.Header{"webhook-id": {"forged"}, "webhook-signature": {"v1,forged"}, "Fanjet-Event-Id": {"forged"}})
	w.publish("events.x", "3", nats.Header{"Nats-Expected-Last-Sequence": {"3"}, "Nats-Expected-Last-Subject-Sequence": {"3"}})
	batch := func(seq string, commit bool) nats.Header {
		h := nats.Header{"Nats-Batch-Id": {"producer"}, "Nats-Batch-Sequence": {seq}}
		if commit {
			h.Set("Nats-Batch-Commit", "1")
		}
		return h
	}
	if err := w.nats.Conn().PublishMsg(&nats.Msg{Subject: "events.x", Data: []byte("4"), Header: batch("1", false)}); err != nil {
		t.Fatal(err)
	}
	if answer, err := w.nats.Conn().RequestMsg(&nats.Msg{Subject: "events.x", Data: []byte("5"), Header: batch("2", true)}, 10*time.Second); err != nil || strings.Contains(string(answer.Data), "error") {
		t.Fatalf("%v %v", answer, err)
	}
	bodies := map[string]bool{}
	for _, r := range w.delivered("a", 6) {
		bodies[r.body] = true
		if r.attempt != "1" || !strings.HasPrefix(r.id, "msg_") || r.subject != "events.x" {
			t.Errorf("%+v", r)
		}
	}
	w.quiet()
	if len(bodies) != 6 || len(w.hook.all()) != 6 {
		t.Errorf("%d requests, %d bodies", len(w.hook.all()), len(bodies))
	}
}

// An empty event with a Status header looks like a control message to NATS
// clients. It is an event like any other, on every hop.
func TestEventThatLooksLikeAStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.set(func(request) int { return 500 })
	w.start()
	for _, status := range []string{"100", "404", "503"} {
		w.publish("events.x", "", nats.Header{"Status": {status}})
	}
	w.letters(3)
	w.hook.set(nil)
	if outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{}); err != nil || outcome.Done != 3 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	w.delivered("a", 3)
	w.quiet()
}

// A letter that is replayed and dead-lettered again within seconds is a new
// letter each time: nothing takes it for a duplicate.
func TestReplayedLetterDiesAgainAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = w.cfg.Endpoints[0].Retry.Schedule[:1]
	w.hook.set(func(request) int { return 500 })
	w.start()
	w.publish("events.x", "{}", nil)
	id := w.letters(1)[0].EventID
	for generation := 1; generation <= 3; generation++ {
		outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{})
		if err != nil || outcome.Done != 1 {
			t.Fatalf("replay %d: %+v, %v", generation, outcome, err)
		}
		letter := w.letters(1)[0]
		if letter.Generation != generation || letter.Attempts != 2 || letter.EventID != id {
			t.Errorf("after replay %d: %+v", generation, letter)
		}
	}
	if n := len(w.hook.all()); n != 8 {
		t.Errorf("%d requests, not 4 × 2", n)
	}
	w.hook.set(nil)
	if _, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := w.delivered("a", 1)[0]; got.id != id {
		t.Errorf("%+v", got)
	}
}

// delivery makes a delivery of the event at a sequence, as fan-out would.
func (w *world) delivery(endpoint string, seq uint64) *nats.Msg {
	w.Helper()
	stream, err := w.js.Stream(w.Context(), "EVENTS")
	if err != nil {
		w.Fatal(err)
	}
	m, err := stream.GetMsg(w.Context(), seq)
	if err != nil {
		w.Fatal(err)
	}
	pos := wire.Position{Stream: "EVENTS", Created: stream.CachedInfo().Created, Sequence: seq, Stored: m.Time}
	env := wire.Envelope{
		EventID: wire.EventID(m.Header, m.Data, pos, false), Key: wire.Key(wire.KindEvent, pos, endpoint), Endpoint: endpoint,
		Subject: m.Subject, Source: pos.Source(), Accepted: m.Time, Attempt: 1,
	}
	h := wire.EventHeaders(m.Header)
	env.WriteTo(h)
	h.Set(nats.MsgIdHdr, pos.FanoutID(endpoint))
	return &nats.Msg{Subject: wire.NewNames("").DeliverSubject(endpoint), Header: h, Data: m.Data}
}

// A gateway that dies between the schedule's acknowledgement and the ack of
// the delivery makes the attempt again and schedules it again: one schedule.
func TestRetryScheduledTwiceIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = []time.Duration{time.Hour}
	w.hook.set(func(request) int { return 500 })
	w.start()
	seq := w.publish("events.x", "{}", nil)
	retries := w.gw.names.RetriesStream()
	w.waitFor("the retry is scheduled", func() bool { return w.messages(retries) == 1 })
	again := w.delivery("a", seq)
	again.Header.Set(nats.MsgIdHdr, "sent again after a crash")
	if _, err := w.js.PublishMsg(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the attempt was made again", func() bool { return len(w.hook.all()) == 2 })
	w.waitFor("the delivery log is empty", func() bool { return w.messages(w.gw.names.DeliveriesStream()) == 0 })
	if n := w.messages(retries); n != 1 {
		t.Errorf("%d schedules", n)
	}
}

// Sequences that come again in a stream that was created again are other
// events, even within the duplicates window.
func TestEventsCreatedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for range 3 {
		w.publish("events.x", "old", nil)
	}
	w.delivered("a", 3)
	w.quiet()
	config := func() jetstream.StreamConfig {
		s, err := w.js.Stream(t.Context(), "EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().Config
	}()
	if err := w.js.DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the loss is noticed", func() bool { return w.gw.Ready() != nil })
	if _, err := w.js.Stream(t.Context(), "EVENTS"); err == nil {
		t.Fatal("the stream was created again behind its owner's back")
	}
	if _, err := w.js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.publish("events.x", "new", nil)
	}
	ids := map[string]bool{}
	for _, r := range w.delivered("a", 6) {
		ids[r.id] = true
	}
	if len(ids) != 6 {
		t.Errorf("%d ids of 6 events", len(ids))
	}
	w.waitFor("it is ready again", func() bool { return w.gw.Ready() == nil })
}

// order returns the sequences of the events in the delivery log, in its order.
func (w *world) order() []uint64 {
	w.Helper()
	s, err := w.js.Stream(w.Context(), wire.NewNames("").DeliveriesStream())
	if err != nil {
		w.Fatal(err)
	}
	var out []uint64
	state := s.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(w.Context(), seq)
		if err != nil {
			w.Fatal(err)
		}
		var event uint64
		if _, err := fmt.Sscanf(m.Header.Get(wire.HeaderSource), "EVENTS/%d", &event); err != nil {
			w.Fatal(err)
		}
		out = append(out, event)
	}
	return out
}

// A matcher that starts while events are pending for a dead one waits for them:
// newer events do not overtake them.
func TestMatcherRestartedInsideAckWaitKeepsOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	release := w.hook.block("a")
	for range 10 {
		w.publish("events.x", "{}", nil)
	}
	// A matcher that takes four events and dies.
	consumer, err := w.js.Consumer(t.Context(), "EVENTS", w.gw.names.MatchConsumer())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(4, jetstream.FetchMaxWait(5*time.Second), jetstream.FetchPriorityGroup(topology.MatchGroup))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range batch.Messages() {
		n++
	}
	if n != 4 {
		t.Fatalf("the dying matcher got %d events: %v", n, batch.Error())
	}
	w.start()
	w.waitFor("all are fanned out", func() bool { return w.messages(w.gw.names.DeliveriesStream()) == 10 })
	if got := fmt.Sprint(w.order()); got != "[1 2 3 4 5 6 7 8 9 10]" {
		t.Error(got)
	}
	release()
	w.delivered("a", 10)
}

// Deliveries that a dying gateway published without acknowledging the event are
// not published a second time: the batch is answered 10201 and only what is new
// is stored.
func TestFanOutAgainDoublesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	for i := range 20 {
		seq := w.publish("events.x", fmt.Sprint(i), nil)
		if i%5 == 2 {
			if _, err := w.js.PublishMsg(t.Context(), w.delivery("a", seq)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.start()
	w.delivered("a", 20)
	w.quiet()
	if n := len(w.hook.all()); n != 20 {
		t.Errorf("%d requests for 20 events", n)
	}
}

// A consumer that was created by hand to deliver only new messages reports that
// nothing below is waiting: the log must not be truncated by it.
func TestConsumerRecreatedByHandTruncatesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.hook.block("a")
	w.start()
	names := w.gw.names
	for range 5 {
		w.publish("events.x", "{}", nil)
	}
	w.waitFor("they are in the log", func() bool { return w.messages(names.DeliveriesStream()) == 5 })
	config := topology.DeliverConsumer(names)
	config.DeliverPolicy = jetstream.DeliverNewPolicy
	w.waitFor("it is created by hand before we do", func() bool {
		err := w.js.DeleteConsumer(t.Context(), names.DeliveriesStream(), names.DeliverConsumer())
		if err != nil {
			return false
		}
		_, err = w.js.CreateConsumer(t.Context(), names.DeliveriesStream(), config)
		return err == nil
	})
	w.waitFor("it is refused", func() bool {
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), "deliver")
	})
	began := time.Now()
	w.waitFor("truncation was tried a few times", func() bool { return time.Since(began) > 5*truncateEvery })
	if n := w.messages(names.DeliveriesStream()); n != 5 {
		t.Fatalf("%d of 5 deliveries are left", n)
	}
	release()
	if err := w.js.DeleteConsumer(t.Context(), names.DeliveriesStream(), names.DeliverConsumer()); err != nil {
		t.Fatal(err)
	}
	w.delivered("a", 5)
	w.waitFor("it is ready again", func() bool { return w.gw.Ready() == nil })
	w.waitFor("the log is truncated", func() bool { return w.messages(names.DeliveriesStream()) == 0 })
}
