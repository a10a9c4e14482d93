package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fanjet/dlq"
)

// Many deliveries that NATS refuses are all counted, and do not fill the log.
func TestRefusedFanOutIsSampled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	logs := w.watched()
	const events = 12
	for range events {
		w.publish("events.x", strings.Repeat("x", int(w.nats.Conn().MaxPayload())), nil)
	}
	w.letters(events)
	counted := func() float64 { return w.metric("fanjet_fanout_dead_letters_total", "too_large") }
	w.waitFor("all are counted, after they are stored", func() bool { return counted() >= events })
	if n := counted(); n != events {
		t.Errorf("%v are counted", n)
	}
	if n := logs.FilterMessage("a delivery cannot be published and is dead-lettered").Len(); n == 0 || n >= events {
		t.Errorf("%d lines in the log", n)
	}
}

// The largest event that our own source takes can be delivered, retried and
// dead-lettered whole.
func TestLargestEventOfOurSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.set(func(request) int { return 500 })
	w.start()
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	limit := int(stream.CachedInfo().Config.MaxMsgSize)
	body := strings.Repeat("x", limit)
	if _, err := w.js.Publish(t.Context(), "events.x", []byte(body+"x")); err == nil {
		t.Error("an event that could not be moved was accepted")
	}
	w.publish("events.x", body, nil)
	letter := w.letters(1)[0]
	if letter.Reason != dlq.ReasonExhausted || string(letter.Data) != body {
		t.Errorf("%s with %d bytes of %d", letter.Reason, len(letter.Data), limit)
	}
	w.hook.set(nil)
	if outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{}); err != nil || outcome.Done != 1 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if got := w.delivered("a", 1)[0]; got.body != body {
		t.Errorf("%d bytes", len(got.body))
	}
}

// A body of exactly max_payload in somebody else's stream cannot be moved with
// our headers: it is dead-lettered by reference, and what is around it goes on.
func TestBodyAtMaxPayload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}})
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	w.start()
	body := strings.Repeat("x", int(w.nats.Conn().MaxPayload()))
	w.publish("events.x", "before", nil)
	seq := w.publish("events.x", body, nil)
	w.publish("events.x", "after", nil)
	w.delivered("a", 2)
	letter := w.letters(1)[0]
	if letter.Reason != dlq.ReasonTooLarge || !letter.ByReference || len(letter.Data) != 0 || letter.Source != "EVENTS/2" || seq != 2 {
		t.Errorf("%+v", letter)
	}
	if err := w.queue().Resolve(t.Context(), &letter); err != nil || string(letter.Data) != body {
		t.Errorf("%d bytes behind the reference, %v", len(letter.Data), err)
	}
	outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{})
	if err != nil || outcome.Failed != 1 || w.messages(w.gw.names.DeadLettersStream()) != 1 {
		t.Errorf("a replay that cannot be: %+v, %v", outcome, err)
	}
	w.quiet()
}

// What a receiver says is stored with its retries and its letter. Where there is no
// room for that, it is left out: it must not cost an event its attempts, nor its
// body.
func TestWhatAReceiverSaysTakesNoRoomFromTheEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	says := strings.Repeat("it does not please me; ", 20)
	w.hook.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(rw, says, http.StatusBadRequest)
	})
	w.start()
	largest := int(w.nats.Conn().MaxPayload())
	const events = 20
	for i := range events {
		w.publish("events.x", strings.Repeat("x", largest-400-50*i), nil)
	}
	without, with := 0, 0
	for _, l := range w.letters(events) {
		switch {
		case l.Reason == dlq.ReasonTooLarge:
			continue // not even without
		case l.Reason != dlq.ReasonExhausted || l.Attempts != 3 || l.LastStatus != 400 || l.ByReference || len(l.Data) < largest-400-50*events:
			t.Errorf("%s after %d attempts, %d bytes of a body: %s", l.Reason, l.Attempts, len(l.Data), l.LastError)
		case l.LastError == "":
			without++
		case strings.HasPrefix(l.LastError, "4xx: 400 Bad Request: it does not please me; it"):
			with++
		default:
			t.Error(l.LastError)
		}
	}
	if without == 0 || with == 0 {
		t.Errorf("%d without, %d with what the receiver said", without, with)
	}
}

// Headers that leave no room for ours do no harm either: JetStream takes 64 KiB.
func TestHeadersThatLeaveNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	w.start()
	w.publish("events.x", "small", nats.Header{"X-Large": {strings.Repeat("x", 65_400)}})
	w.publish("events.x", "after", nil)
	w.delivered("a", 1)
	if letter := w.letters(1)[0]; letter.Reason != dlq.ReasonTooLarge || !letter.ByReference {
		t.Errorf("%+v", letter)
	}
}

// A NATS that is not there yet is waited for; readiness says so.
func TestStartWaitsForNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.nats.Stop()
	gw, err := New(Options{Config: w.cfg, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	w.waitFor("it says that it is not ready", func() bool { return gw.Ready() != nil })
	began := time.Now()
	w.waitFor("it has tried", func() bool { return time.Since(began) > 300*time.Millisecond })
	select {
	case err := <-ended:
		t.Fatalf("it gave up: %v", err)
	default:
	}
	w.nats.Resume()
	w.waitFor("it is ready", func() bool { return gw.Ready() == nil })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Bad streams end the start with an error that says what to do, before anything
// is delivered.
func TestStartRefusesAStreamThatLosesEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"events.>"}, Discard: jetstream.DiscardOld, MaxMsgs: 10,
	}); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	gw, err := New(Options{Config: w.cfg, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	err = gw.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "EVENTS") || !strings.Contains(err.Error(), "discard") {
		t.Errorf("%v", err)
	}
}

// A dead-letter stream without room keeps the delivery pending, as a schedule,
// and the letter is written once there is room.
func TestFullDeadLetterStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.DeadLetters.MaxBytes = 4096
	w.hook.set(func(request) int { return 410 })
	w.start()
	names := w.gw.names
	w.publish("events.x", strings.Repeat("x", 3000), nil)
	w.letters(1)
	w.publish("events.x", strings.Repeat("y", 3000), nil)
	w.waitFor("the second one waits as a schedule", func() bool { return w.messages(names.RetriesStream()) == 1 })
	w.waitFor("it has left the fast lane", func() bool { return w.messages(names.DeliveriesStream()) == 0 })
	if _, err := w.queue().Purge(t.Context(), dlq.Filter{}, dlq.PurgeOptions{}); err != nil {
		t.Fatal(err)
	}
	if letter := w.letters(1)[0]; !strings.HasPrefix(string(letter.Data), "y") || letter.Reason != dlq.ReasonRejected || letter.Attempts != 1 {
		t.Errorf("%s after %d: %.10s", letter.Reason, letter.Attempts, letter.Data)
	}
	if n := len(w.hook.all()); n != 2 {
		t.Errorf("%d requests, though waiting for room is no attempt", n)
	}
}

// What waits for room in the dead-letter stream holds up no retries, even when
// it is no delivery of Fanjet.
func TestForeignMessageAndFullDeadLetterStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.DeadLetters.MaxBytes = 1
	w.start()
	names := w.gw.names
	if _, err := w.js.Publish(t.Context(), names.DeliverSubject("a"), []byte("sign this")); err != nil {
		t.Fatal(err)
	}
	w.waitFor("it has left the fast lane", func() bool { return w.messages(names.DeliveriesStream()) == 0 })
	w.hook.set(func(r request) int {
		if r.attempt == "1" {
			return 500
		}
		return 200
	})
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
}

// refuseLetters makes the dead-letter stream refuse every letter, and counts
// the tries from then on.
func (w *world) refuseLetters() (tries *atomic.Int64, allow func()) {
	w.Helper()
	stream, err := w.js.Stream(w.Context(), w.gw.names.DeadLettersStream())
	if err != nil {
		w.Fatal(err)
	}
	limit := func(size int32) {
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgSize = size
		if _, err := w.js.UpdateStream(w.Context(), cfg); err != nil {
			w.Fatal(err)
		}
	}
	limit(1)
	return w.countLetters(), func() { limit(-1) }
}

// countLetters counts the letters that anybody tries to store.
func (w *world) countLetters() *atomic.Int64 {
	w.Helper()
	tries := new(atomic.Int64)
	sub, err := w.nats.Conn().Subscribe(w.gw.names.DeadLetterSubject("*"), func(*nats.Msg) { tries.Add(1) })
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = sub.Unsubscribe() })
	return tries
}

// A letter that is refused for another reason than room waits in the same way:
// the endpoint hears nothing of it.
func TestRefusedLetterWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.set(func(request) int { return 410 })
	w.start()
	_, allow := w.refuseLetters()
	w.publish("events.x", "{}", nil)
	w.waitFor("the delivery waits as a schedule", func() bool { return w.messages(w.gw.names.RetriesStream()) == 1 })
	allow()
	if letter := w.letters(1)[0]; letter.Reason != dlq.ReasonRejected {
		t.Error(letter.Reason)
	}
	if n := len(w.hook.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// A delivery that can become neither a schedule nor a letter is held, without
// haste, and others go on.
func TestNeitherScheduleNorLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.DeadLetters.MaxBytes = 1
	w.hook.set(func(r request) int {
		if r.subject == "events.wide" {
			return 500
		}
		return 200
	})
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	w.start()
	tries := w.countLetters()
	// JetStream takes 64 KiB of headers: those of a delivery fit, those of its
	// schedule do not.
	w.publish("events.wide", "{}", nats.Header{"X-Large": {strings.Repeat("x", 65_100)}})
	w.waitFor("a letter is tried", func() bool { return tries.Load() > 0 })
	for i := range 100 {
		w.publish("events.x", "{}", nil)
		w.delivered("a", i+1)
	}
	if n := tries.Load(); n > 20 {
		t.Errorf("tried %d times to store the letter", n)
	}
	if n := w.messages(w.gw.names.DeliveriesStream()); n == 0 {
		t.Error("the delivery is gone")
	}
}

// An event whose deliveries can be neither stored nor dead-lettered waits,
// without haste.
func TestNeitherDeliveryNorLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].Create = false
	w.start()
	tries, allow := w.refuseLetters()
	w.publish("events.x", strings.Repeat("x", int(w.nats.Conn().MaxPayload())), nil)
	w.waitFor("a letter is tried", func() bool { return tries.Load() > 0 })
	for i := range 100 {
		w.publish("events.x", "{}", nil)
		w.delivered("a", i+1)
	}
	if n := tries.Load(); n > 20 {
		t.Errorf("tried %d times to store the letter", n)
	}
	allow()
	w.letters(1)
}
