package gateway

import (
	"cmp"
	"slices"
	"time"

	"fanjet/internal/intake"
)

const (
	// redeliveryGap is how long the server may pause between two events that it
	// sends again before they count as complete.
	redeliveryGap = 250 * time.Millisecond
	// A matcher that takes over looks again and again whether anybody else still
	// holds events. It waits no longer than takeoverWait: one that lives holds an
	// event for ever if it can store neither a delivery nor its dead letter.
	takeoverLook = 25 * time.Millisecond
	takeoverWait = 10 * time.Second
)

// sequencer hands the events of a source to handle in the order of the stream.
//
// What a dead matcher held comes again before anything newer, but in any order:
// the server puts an event that it could not send yet behind the others. So
// events that are sent again are gathered until a new one comes, or none for a
// moment, and handled by sequence.
//
// A matcher that takes over from one that lives may get newer events while that
// one still publishes older ones: so it gathers everything, and handles an event
// when all before it are settled or its own. So does one that lost what the server
// sent it, because a connection broke: it comes again, and newer events before it.
type sequencer struct {
	handle func(*intake.Message)
	seen   func(*intake.Message) // hears of every event in order of receipt; nil: nobody does
	// others reports whether any events are pending that were not sent under a pin,
	// and up to which sequence all are settled; an error if NATS does not tell.
	others func(pin string) (any bool, settled uint64, err error)
	late   func() // others held older events for all of takeoverWait

	pin      string    // of the latest event: it is another one after a takeover
	delivery uint64    // number of the latest event among all that the consumer sent; 0: none
	takeover time.Time // when it began; zero: it is over
	changed  bool      // others may hold more since it was looked
	gathered []*intake.Message
}

// run takes events from the queue until that is closed.
func (s *sequencer) run(queue <-chan *intake.Message) {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case msg, ok := <-queue:
			if !ok {
				s.flush()
				return
			}
			if wait := s.take(msg); wait >= 0 {
				look.Reset(wait)
			}
		case <-look.C:
			if s.takeover.IsZero() {
				s.flush()
				continue
			}
			s.changed = false
			others, settled, err := s.others(s.pin)
			for range len(queue) { // came while it was looked
				s.take(<-queue)
			}
			if s.changed {
				look.Reset(takeoverLook)
				continue
			}
			if err != nil {
				// Nobody can publish anything now either: the wait begins anew.
				s.takeover = time.Now()
				look.Reset(takeoverLook)
				continue
			}
			if others && s.next(settled+1) {
				look.Reset(takeoverLook)
				continue
			}
			s.flush()
		}
	}
}

// take gathers an event, or handles it at once. It returns when to look at what
// is gathered; negative: not because of this one.
func (s *sequencer) take(msg *intake.Message) (look time.Duration) {
	if s.seen != nil {
		s.seen(msg)
	}
	lost := s.delivery > 0 && msg.Delivery != s.delivery+1
	s.delivery = msg.Delivery
	// Without a pin is an event whose headers nobody can read.
	other := msg.Pin != "" && msg.Pin != s.pin
	s.changed = s.changed || other || lost
	switch {
	case other || lost && s.takeover.IsZero():
		s.pin, s.takeover = cmp.Or(msg.Pin, s.pin), time.Now()
		s.gathered = append(s.gathered, msg)
		return 0
	case !s.takeover.IsZero():
		s.gathered = append(s.gathered, msg)
		return -1
	case msg.Deliveries > 1:
		s.gathered = append(s.gathered, msg)
		return redeliveryGap
	}
	s.flush()
	s.handle(msg)
	return -1
}

// next handles what is gathered as far as nothing is missing from a sequence on.
// It reports whether the rest, if there is any, has to wait.
func (s *sequencer) next(sequence uint64) (wait bool) {
	s.sort()
	n := 0
	for n < len(s.gathered) && s.gathered[n].Sequence <= sequence {
		sequence = max(sequence, s.gathered[n].Sequence+1)
		s.handle(s.gathered[n])
		n++
	}
	if n > 0 {
		s.gathered = slices.Delete(s.gathered, 0, n)
		s.takeover = time.Now() // it moves
	}
	if time.Since(s.takeover) < takeoverWait {
		return true
	}
	s.late()
	return false
}

// flush handles what is gathered.
func (s *sequencer) flush() {
	s.takeover = time.Time{}
	s.sort()
	for _, msg := range s.gathered {
		s.handle(msg)
	}
	s.gathered = s.gathered[:0]
}

func (s *sequencer) sort() {
	slices.SortFunc(s.gathered, func(a, b *intake.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
}
