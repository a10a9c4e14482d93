package intake

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// Message is a received message that waits to be settled by [Message.Ack] or
// [Message.Nak]; the first of them counts.
type Message struct {
	Msg      *nats.Msg
	Stream   string
	Sequence uint64        // in the stream
	Stored   time.Time     // when the stream stored it
	Received time.Time     // when it came here, by the clock of this machine
	Age      time.Duration // how old it was then, by the server's clock
	// Deliveries is how many times the server has sent it to anybody, from 1.
	Deliveries uint64
	// Delivery is the number of this one among all that the consumer made, from 1.
	Delivery uint64
	// Pending is how many messages the consumer still had to send after this one.
	Pending uint64
	// Pin is the id that the server gave to this client of a priority group, or
	// to another one before; empty: there is no group.
	Pin string

	in         *Intake
	reply      string // where its acknowledgement goes; guarded by in.mu
	life       uint64 // of the connection when it came, see [Intake.Flush]
	size       int
	released   bool
	lapsed     bool      // see Lapsed; guarded by in.mu
	beaten     time.Time // since when the server counts its AckWait, by the clock of this machine
	waits      *list     // for its next beat: Intake.young or Intake.beats
	prev, next *Message  // in that list
}

// Ack settles the message for good.
func (m *Message) Ack() {
	m.in.release(m, ackAck, true) // lost: it is repeated when the server sends the message again
}

// Nak gives the message back: the server sends it again at once, to anybody. One
// that has lapsed is only let go: it is somebody else's, or comes again by itself.
func (m *Message) Nak() {
	word := ackNak // lost: it comes again after the consumer's AckWait
	if m.Lapsed() {
		word = nil
	}
	m.in.release(m, word, false)
}

// Words about a message (NATS ADR-13).
var (
	ackAck      = []byte("+ACK")
	ackNak      = []byte("-NAK")
	ackProgress = []byte("+WPI")
)

// list is a doubly linked list of messages, so that each moves in O(1).
type list struct{ root Message }

func (l *list) init() { l.root.next, l.root.prev = &l.root, &l.root }

func (l *list) front() *Message {
	if l.root.next == &l.root {
		return nil
	}
	return l.root.next
}

func (l *list) pushBack(m *Message) {
	m.prev, m.next = l.root.prev, &l.root
	m.prev.next, m.next.prev = m, m
}

func (l *list) remove(m *Message) {
	m.prev.next, m.next.prev = m.next, m.prev
	m.prev, m.next = nil, nil
}

// recent remembers the latest settled messages. Acks that get lost belong to
// the last moments before a connection broke, so a bounded memory will do.
type recent struct {
	limit   int
	ring    []settledAt // grows up to the limit
	oldest  int         // in a full ring: what is forgotten next
	highest uint64      // sequence that was ever added
}

type settledAt struct {
	seq    uint64
	stored int64
}

func (r *recent) add(seq uint64, stored time.Time) {
	r.highest = max(r.highest, seq)
	at := settledAt{seq, stored.UnixNano()}
	if len(r.ring) < r.limit {
		r.ring = append(r.ring, at)
		return
	}
	r.ring[r.oldest] = at
	r.oldest = (r.oldest + 1) % r.limit
}

// has looks through all of the memory, but only for what comes again: anything
// new has a higher sequence.
func (r *recent) has(seq uint64, stored time.Time) bool {
	return seq <= r.highest && slices.Contains(r.ring, settledAt{seq, stored.UnixNano()})
}
