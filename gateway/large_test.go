package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fanjet/dlq"
)

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
	if letter := w.letters(1)[0]; !strings.HasPrefix(string(letter.Data), "y") || letter.Reason != dlq.ReasonRejected {
		t.Errorf("%s: %.10s", letter.Reason, letter.Data)
	}
}
