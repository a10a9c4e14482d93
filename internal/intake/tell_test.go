package intake

import (
	"context"
	"errors"
	"testing"
)

// Acks and naks are sent by somebody else than who settles: all of them, and a flush
// waits for them.
func TestAllSettledAreTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 300
	b.publish(n)
	for _, m := range b.receive(n) {
		go m.Ack()
	}
	if err := b.in.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info := b.info(); info.NumAckPending > 0 || info.AckFloor.Stream != n {
		t.Errorf("%d are not acknowledged, all up to %d are", info.NumAckPending, info.AckFloor.Stream)
	}
}

// A server that takes nothing holds up nobody who gives up.
func TestFlushEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.in.tell.mu.Lock()
	b.in.tell.speaks = true // for ever
	b.in.tell.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.in.Flush(ctx) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the flush ended with: %v", err)
	}
}
