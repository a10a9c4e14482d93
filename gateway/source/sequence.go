package source

import (
	"cmp"
	"slices"
	"time"

	"fanjet/gateway/topology"
	"fanjet/internal/intake"
)

const (
	// redeliveryGap is how long the server may pause between two events that it
	// sends again before they count as complete.
	redeliveryGap = 250 * time.Millisecond
	// A matcher that takes over looks again and again whether anything older is
	// missing, at first after takeoverLook. It waits no longer than takeoverWait: one
	// that lives holds an event for ever if it can store neither a delivery nor its
	// dead letter. A cluster that elects leaders stores nothing for several seconds,
	// though.
	takeoverLook     = 25 * time.Millisecond
	takeoverLookMost = 250 * time.Millisecond
	takeoverWait     = time.Minute
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
// when all before it are settled or were handled here; what was handled first is
// published first, and never given back while the process lives. So does one that
// lost what the server sent it, because a connection broke: it comes again, and
// newer events before it.
type sequencer struct {
	handle func(*intake.Message)
	// seen hears of every event in order of receipt, and reports whether it came too
	// early and is sent again; nil: nobody does.
	seen func(*intake.Message) bool
	// settled is the sequence up to which all events are settled, or a lower one.
	settled func() (uint64, error)
	// holds reports whether the source has an event from a sequence on and before
	// another.
	holds  func(from, before uint64) (bool, error)
	failed func(error) // hears why one of them does not know
	// pinned hears of the first event that came after a takeover; nil: nobody does.
	pinned func(*intake.Message)
	full   func() bool // reports whether nothing more is received until something is settled
	late   func()      // something older was missing for all of takeoverWait

	pin      string    // of the latest event: it is another one after a takeover
	delivery uint64    // number of the latest event among all that the consumer sent
	takeover time.Time // when it began, or went on; zero: it is over
	looked   time.Time // when it was looked last
	changes  int       // how often it began, or something was lost
	gathered []*intake.Message
	gaveBack time.Time // when some of that was

	// Of what was received since the latest change; only during a takeover.
	fresh    *intake.Message // the first event that was sent to nobody before; nil: none yet
	newest   uint64          // sequence of the latest of those
	complete bool            // the first was handled

	reached uint64    // all events up to this one are settled, or were handled here
	stored  time.Time // when it was, if it was handled here
}

// run takes events from the queue until that is closed.
func (s *sequencer) run(queue <-chan *intake.Message) {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case msg, ok := <-queue:
			if !ok {
				s.flush() // nothing more comes
				return
			}
			if wait := s.take(msg); wait >= 0 {
				look.Reset(wait)
			}
		case <-look.C:
			switch {
			case s.takeover.IsZero():
				s.flush() // what was sent again is complete
			case s.look(queue):
				look.Reset(min(max(takeoverLook, time.Since(s.takeover)/8), takeoverLookMost))
			}
		}
	}
}

// take gathers an event, or handles it at once. It returns when to look at what
// is gathered; negative: not because of this one.
func (s *sequencer) take(msg *intake.Message) (look time.Duration) {
	if s.seen != nil && s.seen(msg) {
		msg.Nak()
		return -1
	}
	lost := msg.Delivery != s.delivery+1
	s.delivery = msg.Delivery
	// An event without a pin is one whose headers nobody can read.
	other := msg.Pin != "" && msg.Pin != s.pin
	if other && s.pinned != nil {
		s.pinned(msg)
	}
	if other || lost {
		s.changes++
		s.beginAnew()
	}
	if msg.Sequence <= s.reached && (msg.Deliveries == 1 || msg.Stored.After(s.stored)) {
		s.reached = 0 // the stream, or its consumer, went back
	}
	switch {
	case other || lost || !s.takeover.IsZero():
		if msg.Deliveries == 1 {
			s.fresh, s.newest = cmp.Or(s.fresh, msg), msg.Sequence
		}
		begins := other || s.takeover.IsZero()
		s.pin = cmp.Or(msg.Pin, s.pin)
		s.gathered = append(s.gathered, msg)
		if !begins && len(s.gathered) > 1 {
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

// beginAnew forgets what was complete.
func (s *sequencer) beginAnew() { s.fresh, s.newest, s.complete = nil, 0, false }

// do handles an event.
func (s *sequencer) do(msg *intake.Message) {
	if msg.Sequence > s.reached {
		s.reached, s.stored = msg.Sequence, msg.Stored
	}
	s.handle(msg)
}

// look handles what is gathered after a takeover as far as nothing older is
// missing. It reports whether it has to look again.
func (s *sequencer) look(queue <-chan *intake.Message) (again bool) {
	changes := s.changes
	defer func() { s.looked = time.Now() }()
	settled, err := s.settled()
	if err == nil {
		s.reach(settled)
	}
	for err == nil {
		for range len(queue) { // came while it was looked
			s.take(<-queue)
		}
		if s.changes != changes {
			return true // what was looked at may be of another stream
		}
		s.advance()
		if len(s.gathered) == 0 {
			if s.complete {
				s.flush()
			}
			return false
		}
		var missing bool
		until := s.gathered[0].Sequence
		if missing, err = s.holds(s.reached+1, until); missing || err != nil {
			break
		}
		s.reach(until - 1)
	}
	switch waited := time.Since(s.takeover); {
	case err != nil:
		s.failed(err)
		// Time in which it could not be looked does not count.
		s.takeover = s.takeover.Add(min(waited, time.Since(s.looked)))
	case waited > topology.MatchAckWait && time.Since(s.gaveBack) > topology.MatchAckWait/4 && s.full():
		s.giveBack()
	case waited >= takeoverWait:
		s.late()
		s.flush() // without what is missing
		return false
	}
	return true
}

// giveBack makes room for what is missing: it gives the newer half of what is
// gathered back to the server, which sends it again behind all that is due.
func (s *sequencer) giveBack() {
	s.gaveBack = time.Now()
	keep := len(s.gathered) / 2
	for _, msg := range s.gathered[keep:] {
		msg.Nak()
	}
	s.gathered = slices.Delete(s.gathered, keep, len(s.gathered))
	s.beginAnew()
}

// reach notes that nothing up to a sequence is missing.
func (s *sequencer) reach(sequence uint64) {
	if sequence > s.reached {
		s.reached, s.stored = sequence, time.Time{} // not known
	}
}

// advance handles what is gathered as far as nothing can be missing.
func (s *sequencer) advance() {
	s.sort()
	n := 0
	for ; n < len(s.gathered); n++ {
		msg := s.gathered[n]
		// New events are sent in order. Events that others got were sent before the
		// first one that came here, and all of them are settled, or were here, when
		// that is handled: from then on nothing is missing between two of them.
		if msg.Sequence > s.reached+1 && !(s.complete && msg.Sequence <= s.newest) {
			break
		}
		s.complete = s.complete || msg == s.fresh
		s.do(msg)
	}
	if n > 0 {
		s.gathered = slices.Delete(s.gathered, 0, n)
		s.takeover = time.Now() // it goes on
	}
}

// flush handles what is gathered. A takeover is over.
func (s *sequencer) flush() {
	s.takeover = time.Time{}
	s.beginAnew()
	s.sort()
	for _, msg := range s.gathered {
		s.do(msg)
	}
	s.gathered = s.gathered[:0]
}

func (s *sequencer) sort() {
	slices.SortFunc(s.gathered, func(a, b *intake.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
}
