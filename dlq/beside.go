package dlq

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// A replay publishes the delivery of a letter, and then removes the letter. A purge
// or a drain beside it can be faster with that: it would count as purged what is
// delivered. So they tell each other. A purge or drain that has removed letters asks
// the replays that run how many of them they had delivered; a replay that ends says
// so without being asked, to those who still remove; and either way it hears which
// were taken. Nothing depends on it but the reports; one that is not there, or may
// not speak on these subjects, is not waited for long.
//
// Another replay can be faster, too: NATS knows its delivery of the letter by the
// id, so that it is one delivery. It counts for the one that removed the letter.
//
// The notes go over two subjects that all of them hear, and not to inboxes: a
// client that may publish to those could forge what NATS answers to a gateway.

const (
	// settleTime is how long a replay takes at most until what it has in flight is
	// settled, before it answers.
	settleTime = 2 * time.Second
	// answerTime is how long the first answer is waited for, and quietTime those of
	// others.
	answerTime = settleTime + time.Second
	quietTime  = 300 * time.Millisecond
	// notesRoom is how many notes may wait to be read; what comes beyond is lost.
	notesRoom = 256
)

// besideNote is what replays and those who remove letters say to each other.
type besideNote struct {
	From string `json:"from"`         // random, of one replay, purge or drain
	To   string `json:"to,omitempty"` // empty: to all that hear it

	// Endpoint is whose letters were removed; empty: those of all.
	Endpoint string `json:"endpoint,omitempty"`
	// Delivered are letters that a replay delivered and that somebody else removed.
	Delivered Counts `json:"delivered,omitempty"`
	// Taken of those were removed by whoever says it.
	Taken Counts `json:"taken,omitempty"`
}

// mostSaid is more letters than there can be: sums of less do not overflow.
const mostSaid = 1 << 40

// of returns the counts of an endpoint, of all without a name; those that nobody
// can mean are left out.
func (c Counts) of(endpoint string) Counts {
	some := make(Counts)
	for name, n := range c {
		if n > 0 && n < mostSaid && (endpoint == "" || name == endpoint) {
			some[name] = n
		}
	}
	return some
}

// speaker says notes on one subject, and hears those on another.
type speaker struct {
	nc    *nats.Conn
	id    string
	says  string // the subject on which it speaks
	inbox string // where NATS says that nobody hears that
	notes chan *nats.Msg
	subs  []*nats.Subscription
}

// listen makes a speaker.
func listen(nc *nats.Conn, id, hears, says string) *speaker {
	s := &speaker{nc: nc, id: id, says: says, inbox: nc.NewInbox(), notes: make(chan *nats.Msg, notesRoom)}
	for _, subject := range []string{hears, s.inbox} {
		if sub, err := nc.ChanSubscribe(subject, s.notes); err == nil {
			s.subs = append(s.subs, sub)
		}
	}
	return s
}

// say sends a note, and reports whether it is sent. If nobody hears it, read
// tells.
func (s *speaker) say(note besideNote) bool {
	note.From = s.id
	text, err := json.Marshal(note)
	return err == nil && s.nc.PublishRequest(s.says, s.inbox, text) == nil
}

// confirm is say for what somebody waits for.
func (s *speaker) confirm(note besideNote) bool {
	note.From = s.id
	text, err := json.Marshal(note)
	return err == nil && s.nc.Publish(s.says, text) == nil
}

// read reads a note; ok means that it is one, for this speaker or for all. nobody
// means that it is the word of NATS that nobody hears what it says.
func (s *speaker) read(m *nats.Msg) (note besideNote, ok, nobody bool) {
	if m.Subject == s.inbox {
		return note, false, len(m.Data) == 0
	}
	err := json.Unmarshal(m.Data, &note)
	return note, err == nil && (note.To == "" || note.To == s.id), false
}

func (s *speaker) close() {
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection
	}
}
