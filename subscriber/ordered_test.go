package subscriber

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// What is stored of a line's first delivery says how its latest attempt failed,
// whether there was an answer or none.
func TestOrderedHeadFailure(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]outcome.Result{
		"5xx: 500 Internal Server Error":     {Class: outcome.Class5xx, Status: 500},
		"timeout: context deadline exceeded": {Class: outcome.ClassTimeout, Err: context.DeadlineExceeded},
		"connect: refused":                   {Class: outcome.ClassConnect, Err: errors.New("refused")},
	} {
		var env wire.Envelope
		note(&env, r)
		if got := headOf(&env, time.Time{}).Failure(); got != want {
			t.Errorf("failure() of %+v = %q, want %q", r, got, want)
		}
	}
	if got := (state.Head{Status: 500}).Failure(); got != "status 500" {
		t.Errorf("failure() of what an older version stored = %q", got)
	}
}

// The first delivery of a line that waited here was settled elsewhere if the floor of
// the lane's consumer has passed it. It is attempted if not, and waits if that is not
// known.
func TestOrderedHeadThatWasSettledElsewhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		floor   int // beyond the delivery
		err     error
		settled bool
		said    string
	}{
		"before it": {floor: -1},
		"itself":    {floor: 0, settled: true, said: "ack"},
		"beyond it": {floor: 1000, settled: true, said: "ack"},
		"not known": {err: errors.New("no answer"), settled: true},
	} {
		inHand(t, func(e *endpoint.Settings) { e.Ordered = true }, func(h *hand) {
			dl, env, s := h.first(unchanged)
			h.opts.Consumers = lookLane(func(info *jetstream.ConsumerInfo) error {
				info.AckFloor.Stream = dl.msg.Sequence + uint64(test.floor)
				return test.err
			})
			if got := h.settledElsewhere(h.work, dl); got != test.settled {
				t.Errorf("%s: %v", name, got)
			}
			h.check(s, test.said)
			if waits := len(h.e.queue) == 1; waits != (test.err != nil) {
				t.Errorf("%s: it waits in the line: %v", name, waits)
			}
			// The attempt begins with that question.
			if test.settled && test.err == nil {
				head := headOf(&env, time.Now())
				dl.head = &head
				h.inPlace(h.work, dl, env)
				h.check(s, "ack ack")
			}
		})
	}
}
