package gateway

import (
	"cmp"
	"slices"
	"time"

	"fanjet/internal/intake"
)

// redeliveryGap is how long the server may pause between two events that it
// sends again before they count as complete.
const redeliveryGap = 250 * time.Millisecond

// inSequence calls handle for every message of the queue until it is closed, in
// the order of the stream. What a dead matcher held comes again before anything
// newer, but in any order: the server puts an event that it could not send yet
// behind the others. So events that are sent again are gathered until a new one
// comes, or none for a moment, and handled by sequence.
func inSequence(queue <-chan *intake.Message, handle func(*intake.Message)) {
	var again []*intake.Message
	flush := func() {
		slices.SortFunc(again, func(a, b *intake.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
		for _, msg := range again {
			handle(msg)
		}
		again = again[:0]
	}
	gap := time.NewTimer(0)
	defer gap.Stop()
	for {
		select {
		case msg, ok := <-queue:
			switch {
			case !ok:
				flush()
				return
			case msg.Deliveries > 1:
				again = append(again, msg)
				gap.Reset(redeliveryGap)
			default:
				flush()
				handle(msg)
			}
		case <-gap.C:
			flush()
		}
	}
}
