package subscriber

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// A line begins only when two looks in a row found nothing older: a delivery may have
// been on its way into the log at the first.
func TestTwoLooksEndADrain(t *testing.T) {
	t.Parallel()
	for looks, want := range map[string]bool{"": true, "1": true, "0": true, "00": false, "010": true, "0100": false, "00100": false} {
		e := &member{draining: true}
		for _, look := range looks {
			e.drained(look == '0')
		}
		if got := e.isDraining(); got != want {
			t.Errorf("after looks that found %q the line waits: %v", looks, got)
		}
	}
	inHand(t, asItIs, func(h *hand) {
		h.e.drainedOnce = true // of a time before
		ordered := h.e.target.Settings
		ordered.Ordered = true
		target := *h.e.target
		target.Settings = ordered
		h.e.configure(&target, time.Now())
		if h.e.drained(true); !h.e.isDraining() {
			t.Error("one look ended it")
		}
	})
}

// Older is what is in the log, waits as a retry or is one that is due: for the endpoint,
// and for no other.
func TestOlderThanLane(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	names := wire.NewNames("")
	d := &Dispatcher{opts: Options{Names: names, JetStream: s.JetStream()}}
	if left, err := d.olderThanLane(t.Context(), "a"); err == nil {
		t.Errorf("without streams: %v", left)
	}
	for stream, subjects := range map[string][]string{
		names.DeliveriesStream(): {names.DeliverSubject("*")},
		names.RetriesStream():    {names.RetrySubject("*", "*"), names.DueSubject("*")},
		names.LanesStream():      {names.LaneSubject("*")},
	} {
		if _, err := s.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: subjects}); err != nil {
			t.Fatal(err)
		}
	}
	for subject, want := range map[string]bool{
		names.DeliverSubject("a"): true, names.RetrySubject("a", "k"): true, names.DueSubject("a"): true,
		names.LaneSubject("a"): false, names.DeliverSubject("b"): false, names.RetrySubject("b", "a"): false, names.DueSubject("b"): false,
	} {
		ack, err := s.JetStream().Publish(t.Context(), subject, nil)
		if err != nil {
			t.Fatal(err)
		}
		if left, err := d.olderThanLane(t.Context(), "a"); left != want || err != nil {
			t.Errorf("with a message on %s: %v, %v", subject, left, err)
		}
		stream, err := s.JetStream().Stream(t.Context(), ack.Stream)
		if err == nil {
			err = stream.DeleteMsg(t.Context(), ack.Sequence)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
