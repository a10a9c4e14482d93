package subscriber

import (
	"time"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/gate"
)

// message is one that was received: what it says, and who settles it.
type message struct {
	*intake.Message
	settler
}

// settler settles a message: the message itself, but in tests.
type settler interface {
	Ack()
	Nak()
	Lapsed() bool
}

func received(m *intake.Message) message { return message{m, m} }

func (m message) Ack()         { m.settler.Ack() }
func (m message) Nak()         { m.settler.Nak() }
func (m message) Lapsed() bool { return m.settler.Lapsed() }

// AckStored settles the message because JetStream has what it became.
func (m message) AckStored() {
	if x := m.direct(); x != nil {
		x.Owner.Settled(true)
		return
	}
	m.Ack()
}

// direct returns the direct delivery of which it is the event; nil: the message is a
// delivery that is stored.
func (m message) direct() *Direct {
	x, _ := m.settler.(*Direct)
	return x
}

// hopID is the id of the next hop of what the message holds.
func (m message) hopID() string {
	if x := m.direct(); x != nil {
		return x.Owner.HopID()
	}
	return position(m).HopID()
}

// delivery is one delivery at work.
type delivery struct {
	msg     message
	ep      *member // nil: not in the configuration
	lane    bool    // it came from its endpoint's lane; else from a shared consumer, or directly
	fresh   bool    // of a lane: it was not attempted yet
	old     bool    // of a lane: it is older than its endpoint's max_age
	expired bool    // it waited too long behind an open circuit

	since      time.Time   // when it began to wait for a slot
	notBefore  time.Time   // of an ordered endpoint: when its next attempt may begin
	heldFor    time.Time   // the time, by the server's clock, that notBefore stands for; zero: none
	planned    time.Time   // when head was stored, by the server's clock; zero: it was made here
	head       *state.Head // of an ordered endpoint: what is known about it; nil: not looked up
	permit     gate.Permit
	permitUsed bool
	started    bool // it holds a slot
}

// position is where the message is stored, for the id of its next hop.
func position(m message) wire.Position {
	return wire.Position{Stream: m.Stream, Sequence: m.Sequence, Stored: m.Stored}
}

// hasVerdict reports whether the delivery was given up before: its letter waits
// to be taken, and its endpoint hears nothing more of it.
func hasVerdict(dl *delivery) bool {
	reason, _ := dlq.Verdict(dl.msg.Msg.Header)
	return reason != "" && reason != dlq.ReasonEndpointRemoved // which may have come back
}
