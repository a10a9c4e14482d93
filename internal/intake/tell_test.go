package intake

import (
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
