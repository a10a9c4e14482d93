package dlq

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A replay publishes the delivery of a letter, and then removes the letter. A purge
// or a drain beside it can be faster with that: it would count as purged what is
// delivered. So the two tell each other, when they end: the replay how many letters
// it had delivered that were gone when it was to remove them, and the purge whether
// it was the one. Nothing depends on it but the two reports; who is not there, or
// may not speak on these subjects, is not waited for long.
//
// Another replay can be faster, too: NATS knows its delivery of the letter by the
// id, so that it is one delivery. It counts for whoever removed the letter.

const (
	// settleTime is how long a replay takes at most until what it has in flight is
	// settled, before it answers.
	settleTime = 2 * time.Second
	// answerTime is how long the first answer is waited for, and quietTime those of
	// further replays.
	answerTime = settleTime + time.Second
	quietTime  = 300 * time.Millisecond
)

// besideNote is what replays and those who remove letters say to each other.
type besideNote struct {
	// Endpoint is whose letters were removed; empty: those of all.
	Endpoint string `json:"endpoint,omitempty"`
	// Delivered are letters that a replay delivered and that somebody else removed.
	Delivered Counts `json:"delivered,omitempty"`
	// Taken of those were removed by whoever answers, by endpoint.
	Taken Counts `json:"taken,omitempty"`
}

// of returns the counts of an endpoint, of all without a name.
func (c Counts) of(endpoint string) Counts {
	if endpoint == "" {
		return c
	}
	if n := c[endpoint]; n > 0 {
		return Counts{endpoint: n}
	}
	return nil
}

// remover is a purge or a drain, as replays see it.
type remover struct {
	queue    *Queue
	endpoint string
	inbox    string
	notes    chan *nats.Msg // of replays, in order, whatever they came for
	subs     []*nats.Subscription
	answered chan bool // a replay answered; false: there is none

	quit, ended chan struct{}

	delivered int // letters that it removed, and that replays had delivered; read it when ended
}

// startRemover listens to replays that end while letters of an endpoint, or of
// all, are removed. Call end when they are.
func (q *Queue) startRemover(endpoint string) *remover {
	nc := q.js.Conn()
	r := &remover{
		queue: q, endpoint: endpoint, inbox: nc.NewInbox(),
		notes: make(chan *nats.Msg, 256), answered: make(chan bool, 256), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	for _, subject := range []string{q.names.ControlRemoveSubject(), r.inbox} {
		if sub, err := nc.ChanSubscribe(subject, r.notes); err == nil {
			r.subs = append(r.subs, sub)
		}
	}
	go r.listen()
	return r
}

// listen hears notes until r.quit is closed, and those that have come by then.
func (r *remover) listen() {
	defer close(r.ended)
	for {
		select {
		case m := <-r.notes:
			r.hear(m)
		case <-r.quit:
			if len(r.notes) == 0 {
				return
			}
		}
	}
}

// hear takes what a replay says, and answers which of it were removed here.
func (r *remover) hear(m *nats.Msg) {
	var note besideNote
	answer := m.Subject == r.inbox
	if len(m.Data) > 0 && json.Unmarshal(m.Data, &note) == nil {
		taken := note.Delivered.of(r.endpoint)
		if text, err := json.Marshal(besideNote{Taken: taken}); err == nil && m.Respond(text) == nil {
			r.delivered += taken.Total()
		}
	}
	if answer {
		select {
		case r.answered <- len(m.Data) > 0: // else NATS says that no replay listens
		default:
		}
	}
}

// end asks the replays that run what of the removed letters they had delivered,
// and returns the outcome as it is then: those are skipped.
func (r *remover) end(o Outcome) Outcome {
	if o.Done > 0 {
		r.ask()
	}
	for _, sub := range r.subs {
		_ = sub.Unsubscribe() // fails only on a closed connection
	}
	close(r.quit)
	<-r.ended
	n := min(r.delivered, o.Done)
	o.Done -= n
	o.Skipped += n
	return o
}

func (r *remover) ask() {
	question, err := json.Marshal(besideNote{Endpoint: r.endpoint})
	if err != nil || r.queue.js.Conn().PublishRequest(r.queue.names.ControlReplaySubject(), r.inbox, question) != nil {
		return
	}
	wait := time.NewTimer(answerTime)
	defer wait.Stop()
	for {
		select {
		case there := <-r.answered:
			if !there {
				return
			}
			wait.Reset(quietTime)
		case <-wait.C:
			return
		}
	}
}

// besides is what a replay knows of those who remove letters beside it.
type besides struct {
	queue *Queue
	tally *tally

	mu      sync.Mutex
	changed chan struct{} // closed when a letter is settled
	round   int           // grows whenever somebody else has removed letters
	since   time.Time     // when the round began
	pending map[int]int   // letters in flight, by the round in which they began
	gone    Counts        // delivered by this replay, removed by somebody else
}

// startBesides listens to those who remove letters, until stop is called, once
// everything is settled: it tells those who still do what they have taken.
func (q *Queue) startBesides(t *tally) (b *besides, stop func()) {
	b = &besides{queue: q, tally: t, changed: make(chan struct{}), pending: make(map[int]int), gone: make(Counts)}
	nc, notes := q.js.Conn(), make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe(q.names.ControlReplaySubject(), notes)
	if err != nil {
		return b, func() {}
	}
	_ = nc.Flush() // before the first letter is read; that read would fail as well
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case m := <-notes:
				b.answer(ctx, m)
			case <-ctx.Done():
				return
			}
		}
	}()
	return b, func() {
		b.tellRest()
		_ = sub.Unsubscribe() // fails only on a closed connection
		cancel()
		<-ended
	}
}

// begin counts a letter in, and returns its round.
func (b *besides) begin() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending[b.round]++
	return b.round
}

// settle counts a letter of a round out.
func (b *besides) settle(round int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[round]--; b.pending[round] == 0 {
		delete(b.pending, round)
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// wasGone counts a letter that this replay delivered, but did not remove.
func (b *besides) wasGone(endpoint string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone[endpoint]++
}

// isOf reports whether what was seen at a time is of this round: later than what
// others have removed.
func (b *besides) isOf(seen time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !seen.Before(b.since)
}

// answer tells somebody who has removed letters which of them were delivered. What
// waits to be published is looked at again.
func (b *besides) answer(ctx context.Context, m *nats.Msg) {
	var note besideNote
	if json.Unmarshal(m.Data, &note) != nil {
		return
	}
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	b.nextRound(settling)
	b.tell(m.Reply, note.Endpoint)
}

// nextRound begins a round, and waits until all letters of those before are
// settled.
func (b *besides) nextRound(ctx context.Context) {
	b.mu.Lock()
	b.round, b.since = b.round+1, b.queue.now()
	round := b.round
	b.mu.Unlock()
	for {
		b.mu.Lock()
		changed, left := b.changed, false
		for of := range b.pending {
			left = left || of < round
		}
		b.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// tellRest tells whoever still removes letters what nobody was told of.
func (b *besides) tellRest() {
	b.mu.Lock()
	left := len(b.gone)
	b.mu.Unlock()
	if left > 0 {
		b.tell(b.queue.names.ControlRemoveSubject(), "")
	}
}

// tell says which letters of an endpoint, of all without one, were delivered here
// and removed by somebody else. Those that are taken then count as replayed.
func (b *besides) tell(to, endpoint string) {
	b.mu.Lock()
	said := maps.Clone(b.gone.of(endpoint))
	for name := range said {
		delete(b.gone, name)
	}
	b.mu.Unlock()
	taken := b.offer(to, said)
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range said {
		k := min(taken[name], n)
		b.tally.replayed(k)
		if n > k {
			b.gone[name] += n - k
		}
	}
}

// offer returns which of the letters whoever listens has removed; none if nobody
// answers.
func (b *besides) offer(to string, said Counts) Counts {
	note, err := json.Marshal(besideNote{Delivered: said})
	if err != nil {
		return nil
	}
	m, err := b.queue.js.Conn().Request(to, note, answerTime)
	var answer besideNote
	if err != nil || json.Unmarshal(m.Data, &answer) != nil {
		return nil
	}
	return answer.Taken
}
