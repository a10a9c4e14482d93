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
	// A matcher that takes over looks again and again whether anything older is
	// missing. It waits no longer than takeoverWait: one that lives holds an event
	// for ever if it can store neither a delivery nor its dead letter. A cluster
	// that elects leaders stores nothing for several seconds, though.
	takeoverLook = 25 * time.Millisecond
	takeoverWait = time.Minute
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
// when all before it are settled or were handled here. So does one that lost what
// the server sent it, because a connection broke: it comes again, and newer events
// before it.
type sequencer struct {
	handle func(*intake.Message)
	seen   func(*intake.Message) // hears of every event in order of receipt; nil: nobody does
	// settled is the sequence up to which all events are settled, or a lower one.
	settled func() (uint64, error)
	// holds reports whether the source has an event from a sequence on and before
	// another.
	holds func(from, before uint64) (bool, error)
	late  func() // something older was missing for all of takeoverWait

	pin      string    // of the latest event: it is another one after a takeover
	delivery uint64    // number of the latest event among all that the consumer sent; 0: none
	takeover time.Time // when it began, or went on; zero: it is over
	since    uint64    // number of the event with which it began, or before which more was lost
	changes  int       // how often that happened
	complete bool      // nobody else can have got anything older than what comes next
	reached  uint64    // what is up to it is settled, or was handled here under this pin
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
			switch {
			case s.takeover.IsZero():
				s.flush()
			case s.look(queue):
				look.Reset(takeoverLook)
			}
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
	if other || lost {
		s.since, s.complete = msg.Delivery, false
		s.changes++
	}
	if other {
		s.reached = 0
	}
	switch {
	case other || lost && s.takeover.IsZero():
		s.pin, s.takeover = cmp.Or(msg.Pin, s.pin), time.Now()
		s.gathered = append(s.gathered, msg)
		return 0
	case !s.takeover.IsZero():
		s.gathered = append(s.gathered, msg)
		if len(s.gathered) > 1 {
			return -1
		}
		s.takeover = time.Now() // nothing waited until now
		return 0
	case msg.Deliveries > 1:
		s.gathered = append(s.gathered, msg)
		return redeliveryGap
	}
	s.flush()
	s.do(msg)
	return -1
}

// do handles an event.
func (s *sequencer) do(msg *intake.Message) {
	s.reached = max(s.reached, msg.Sequence)
	s.handle(msg)
}

// look handles what is gathered after a takeover as far as nothing older is
// missing. It reports whether it has to look again.
func (s *sequencer) look(queue <-chan *intake.Message) (again bool) {
	changes := s.changes
	settled, err := s.settled()
	for s.reached = max(s.reached, settled); err == nil; {
		for range len(queue) { // came while it was looked
			s.take(<-queue)
		}
		if s.changes != changes {
			return true // what was looked at is old
		}
		s.advance()
		if len(s.gathered) == 0 {
			if s.complete {
				s.takeover = time.Time{}
			}
			return false
		}
		var missing bool
		until := s.gathered[0].Sequence
		if missing, err = s.holds(s.reached+1, until); missing || err != nil {
			break
		}
		s.reached = until - 1
	}
	switch {
	case err != nil:
		// Nobody can publish anything now either: the wait begins anew.
		s.takeover = time.Now()
	case time.Since(s.takeover) >= takeoverWait:
		s.late()
		s.flush()
		return false
	}
	return true
}

// advance handles what is gathered as far as no number is missing.
func (s *sequencer) advance() {
	s.sort()
	n := 0
	for ; n < len(s.gathered) && s.gathered[n].Sequence <= s.reached+1; n++ {
		msg := s.gathered[n]
		// The server sends new events in order. What was sent to others before this
		// one is settled, or comes again; what is sent after it comes here.
		s.complete = s.complete || msg.Deliveries == 1 && msg.Delivery >= s.since
		s.do(msg)
	}
	if n > 0 {
		s.gathered = slices.Delete(s.gathered, 0, n)
		s.takeover = time.Now() // it goes on
	}
}

// flush handles what is gathered.
func (s *sequencer) flush() {
	s.takeover, s.complete = time.Time{}, false
	s.sort()
	for _, msg := range s.gathered {
		s.do(msg)
	}
	s.gathered = s.gathered[:0]
}

func (s *sequencer) sort() {
	slices.SortFunc(s.gathered, func(a, b *intake.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
}
