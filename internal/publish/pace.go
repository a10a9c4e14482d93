package publish

import "time"

// pace learns what publishes cost on the server that there is, and chooses how
// messages go. Single messages are pipelined: each costs little, unless the
// server syncs the disk for each. An atomic batch syncs once, but it has a price
// of its own, some milliseconds in which the server makes a store to stage it
// in, and its messages are written twice.
//
// Costs are in time until the acknowledgement, which is what both have in
// common. They are as good as the load under which they were measured, so the
// way that is not chosen is tried now and then.
type pace struct {
	single time.Duration // one message, alone
	each   time.Duration // a message more, pipelined
	batch  time.Duration // a batch, beyond its messages
	member time.Duration // a message of a batch

	choices int
	learned int // messages that each is known from
}

const (
	// smallSingles is how many messages are pipelined while it is not known, or
	// tried again, what that costs: a disk may be slow to sync.
	smallSingles = 32
	// largeBatch is the size from which a batch tells more about its messages
	// than about itself.
	largeBatch = 256
	// tryEvery is after how many choices the other way is tried.
	tryEvery = 64
	// fewSingles tell more about the first message than about each.
	fewSingles = 8
)

func newPace() pace {
	return pace{
		single: 400 * time.Microsecond, each: 30 * time.Microsecond,
		batch: 3500 * time.Microsecond, member: 40 * time.Microsecond,
	}
}

// choose says how many of n messages go next, and whether as an atomic batch or
// as single messages.
func (p *pace) choose(n int, inOrder bool) (count int, batch bool) {
	if n == 1 {
		return 1, false
	}
	singles := p.single + time.Duration(n-1)*p.each
	if inOrder {
		singles = time.Duration(n) * p.single // one after the other
	}
	batch = p.batch+time.Duration(n)*p.member < singles
	if inOrder {
		return n, batch || n > smallSingles
	}
	if n >= smallSingles {
		p.choices++
		if p.choices%tryEvery == 0 {
			batch = !batch
			if !batch {
				return smallSingles, false
			}
		}
	}
	if !batch && p.learned < smallSingles {
		return min(n, smallSingles), false
	}
	return n, batch
}

// observeSingles learns from n single messages that were all stored.
func (p *pace) observeSingles(n int, took time.Duration) {
	if n == 1 {
		learn(&p.single, took)
		return
	}
	if n < fewSingles {
		return
	}
	p.learned = min(p.learned+n, smallSingles)
	learn(&p.each, max(took-p.single, 0)/time.Duration(n-1))
}

// observeBatch learns from a batch of n messages that was stored.
func (p *pace) observeBatch(n int, took time.Duration) {
	if n < largeBatch {
		learn(&p.batch, max(took-time.Duration(n)*p.member, 0))
		return
	}
	learn(&p.member, max(took-p.batch, 0)/time.Duration(n))
}

// learn moves what is known towards what was measured. What disturbs a
// measurement makes it longer, so a longer one counts for less.
func learn(known *time.Duration, measured time.Duration) {
	if measured < *known {
		*known = (*known + measured) / 2
		return
	}
	*known += (min(measured, 4**known+time.Microsecond) - *known) / 4
}
