package publish

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// A message that fits alone, but not with the headers of a batch, is found before
// anything of the batch is staged.
func TestNothingIsStagedInVain(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{})
	large := message(1, "large")
	large.Data = make([]byte, int(s.Conn().MaxPayload())-100)
	if err := p.Publish(t.Context(), large); err != nil {
		t.Fatalf("alone: %v", err)
	}
	items := []item{{msg: message(0, "small")}, {msg: message(1, "again")}}
	items[1].msg.Data = large.Data
	for i := range items {
		items[i].size = items[i].msg.Size()
	}
	if err := p.tryBatch(items); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("got %v", err)
	}
	if items[0].staged {
		t.Error("the first message was staged")
	}
}

// What is held is tried again soon, then less and less often.
func TestTriesGrowApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Publisher{ctx: context.Background(), log: zap.NewNop()}
		wait := minHold
		var waits []time.Duration
		for range 8 {
			began := time.Now()
			p.hold(nats.ErrTimeout, nil, &wait)
			waits = append(waits, time.Since(began))
		}
		const ms = time.Millisecond
		if want := []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2000 * ms, 2000 * ms}; !slices.Equal(waits, want) {
			t.Errorf("waits of %v, not %v", waits, want)
		}
	})
}

// The answers to three publishes that were given up, which nobody reads before the
// next, leave room for those to the fourth.
func TestLateAnswersLeaveRoom(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, jetstream.StreamConfig{})
	const window = 50
	a, err := newAnswers(s.Conn(), window)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(4 * window) {
		if err := s.Conn().Publish(a.subject(i), []byte(ackStored)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Conn().Flush(); err != nil { // all have been routed back
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		n, err := a.sub.Delivered()
		dropped, _ := a.sub.Dropped()
		return err == nil && int(n)+dropped == 4*window
	})
	if dropped, _ := a.sub.Dropped(); dropped != 0 {
		t.Errorf("%d answers were dropped", dropped)
	}
}
