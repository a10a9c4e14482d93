package subscriber

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

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

// A line begins only when all events are settled that the sources had when its endpoint
// was made ordered; what is not known of all sources is not settled.
func TestPassed(t *testing.T) {
	t.Parallel()
	type at = map[string]Progress
	e := &member{draining: true}
	for i, look := range []struct {
		at   at
		want bool
	}{
		{at{"A": {Last: 7, Settled: 5}, "B": {Last: 3, Settled: 3}}, false}, // A has come to 7
		{at{"A": {Last: 9, Settled: 6}, "B": {Last: 9, Settled: 3}}, false},
		{at{"B": {Last: 9, Settled: 9}}, false},
		{at{"A": {Last: 9, Settled: 7}, "B": {Last: 9, Settled: 2}}, false},
		{at{"A": {Last: 9, Settled: 7}, "B": {Last: 9, Settled: 3}}, true},
	} {
		if got := e.passed(look.at); got != look.want {
			t.Errorf("look %d: %v", i, got)
		}
	}
	// What is switched again waits for what came meanwhile.
	inHand(t, asItIs, func(h *hand) {
		h.e.passed(at{"A": {Last: 7, Settled: 7}})
		target := *h.e.target
		target.Ordered = true
		h.e.configure(&target, time.Now())
		if h.e.passed(at{"A": {Last: 9, Settled: 8}}) {
			t.Error("the sequences of a time before count")
		}
	})
}

// The sources are asked once for all endpoints. While they do not answer, the lines
// wait, and the log says so; an older delivery of a settled event is found.
func TestDrainAsksTheSources(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	names := wire.NewNames("")
	for stream, subject := range map[string]string{names.DeliveriesStream(): names.DeliverSubject("*"), names.RetriesStream(): names.RetrySubject("*", "*")} {
		if _, err := s.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	core, logs := observer.New(zap.WarnLevel)
	var asked atomic.Int64
	settled, failure := uint64(6), errors.New("away")
	d := &Dispatcher{sampled: zap.New(core), opts: Options{
		Names: names, JetStream: s.JetStream(),
		Sources: func(context.Context) (map[string]Progress, error) {
			asked.Add(1)
			return map[string]Progress{"EVENTS": {Last: 7, Settled: settled}}, failure
		},
	}}
	a, b := &member{name: "a", draining: true}, &member{name: "b", draining: true}
	d.endpoints.Store(&map[string]*member{"a": a, "b": b})
	look := func(what string, waitA, waitB bool) {
		t.Helper()
		asked.Store(0)
		for range 2 {
			d.drain(t.Context())
		}
		if a.isDraining() != waitA || b.isDraining() != waitB || asked.Load() > 2 {
			t.Errorf("%s: the lines wait: %v, %v, want %v, %v; the sources were asked %d times in two looks",
				what, a.isDraining(), b.isDraining(), waitA, waitB, asked.Load())
		}
	}
	look("the sources are away", true, true)
	if logs.Len() == 0 {
		t.Error("nothing is logged")
	}
	failure = nil
	look("an event is held", true, true)
	if _, err := s.JetStream().Publish(t.Context(), names.RetrySubject("a", "k"), nil); err != nil {
		t.Fatal(err)
	}
	settled = 7
	look("a retry of a is left", true, false)
}
