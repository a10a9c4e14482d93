package dlq

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// besides is what a replay knows of those who remove letters beside it.
type besides struct {
	*speaker
	now   func() time.Time
	tally *tally
	asks  []besideNote // that came while another one was answered

	mu      sync.Mutex
	changed chan struct{} // closed when a round is settled
	round   int           // grows whenever somebody else has removed letters
	since   time.Time     // when the round began
	pending map[int]int   // letters in flight, by the round in which they began
	gone    Counts        // delivered by this replay, removed by somebody else
}

// startBesides listens to those who remove letters, until stop is called, once
// everything is settled: it tells those who still do what they have taken.
func (q *Queue) startBesides(t *tally) (b *besides, stop func()) {
	nc := q.js.Conn()
	b = &besides{
		speaker: listen(nc, rand.Text(), q.names.ControlReplaySubject(), q.names.ControlRemoveSubject()),
		now:     q.now, tally: t, changed: make(chan struct{}), pending: make(map[int]int), gone: make(Counts),
	}
	_ = nc.Flush() // before the first letter is read; that read would fail as well
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run(ctx)
	}()
	return b, func() {
		cancel()
		<-ended
		b.close()
	}
}

// run answers until ctx ends, and tells the rest then.
func (b *besides) run(ctx context.Context) {
	for {
		for len(b.asks) > 0 {
			ask := b.asks[0]
			b.asks = b.asks[1:]
			b.answer(ctx, ask)
		}
		select {
		case m := <-b.notes:
			b.keep(m)
		case <-ctx.Done():
			if len(b.notes) > 0 {
				continue
			}
			b.mu.Lock()
			left := len(b.gone)
			b.mu.Unlock()
			if left > 0 {
				b.tell("", "")
			}
			return
		}
	}
}

// keep keeps a note that asks something, for later.
func (b *besides) keep(m *nats.Msg) {
	if note, ok, _ := b.read(m); ok && note.To == "" && len(b.asks) < notesRoom {
		b.asks = append(b.asks, note)
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

// answer tells somebody who has removed letters which of them were delivered. A
// letter that waits to be published is looked at again.
func (b *besides) answer(ctx context.Context, ask besideNote) {
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	b.nextRound(settling)
	b.tell(ask.From, ask.Endpoint)
}

// nextRound begins a round, and waits until all letters of those before are
// settled.
func (b *besides) nextRound(ctx context.Context) {
	b.mu.Lock()
	b.round, b.since = b.round+1, b.now()
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

// tell says which letters of an endpoint, of all without one, were delivered here
// and removed by somebody else. Those that are taken then count as replayed.
func (b *besides) tell(to, endpoint string) {
	b.mu.Lock()
	said := b.gone.of(endpoint)
	b.mu.Unlock()
	if !b.say(besideNote{To: to, Delivered: said}) {
		return
	}
	wait := time.NewTimer(answerTime)
	defer wait.Stop()
	for {
		select {
		case m := <-b.notes:
			note, ok, nobody := b.read(m)
			switch {
			case nobody:
				return
			case !ok || note.To == "":
				b.keep(m)
				continue
			}
			b.take(said, note.Taken)
			if note.From == to {
				return
			}
			wait.Reset(quietTime) // of several that were told, one has answered
		case <-wait.C:
			return
		}
	}
}

// take counts letters that were said, and that somebody has taken, as replayed.
func (b *besides) take(said, taken Counts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range taken {
		n = min(max(n, 0), said[name])
		said[name] -= n
		if b.gone[name] -= n; b.gone[name] == 0 {
			delete(b.gone, name)
		}
		b.tally.replayed(n)
	}
}
