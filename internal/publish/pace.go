package publish

import (
	"slices"
	"time"
)

// pace learns what publishes cost on the server that there is, and chooses how
// messages go. Single messages are pipelined: each costs little, unless the
// server syncs the disk for each. An atomic batch syncs once, but it has a price
// of its own, some milliseconds in which the server makes a store to stage it
// in, and its messages are written twice.
//
// Costs are in time until the acknowledgement, which is what both have in
// common. They are as good as the load under which they were measured, so both
// ways are tried at first, and the one that is not chosen now and then.
type pace struct {
	single cost // one message, alone
	each   cost // a message more, pipelined
	batch  cost // a batch, beyond its messages
	member cost // a message of a batch

	choices int // since both ways are known
}

// What is assumed before it is known: a disk that is synced.
const (
	usualSingle = 400 * time.Microsecond
	usualEach   = 300 * time.Microsecond
	usualBatch  = 3500 * time.Microsecond
	usualMember = 40 * time.Microsecond
)

const (
	// smallSingles is how many messages are pipelined while it is only tried how
	// long that takes: a disk may be slow to sync.
	smallSingles = 32
	// fewSingles tell more about the first message than about each.
	fewSingles = 8
	// largeBatch is the size from which a batch tells more about its messages
	// than about itself.
	largeBatch = 256
	// tryFirst is how often each way is tried before one is chosen.
	tryFirst = 3
	// tryEvery is after how many choices the other way is tried.
	tryEvery = 64
)

// choose says how many of n messages go next, and whether as an atomic batch or
// as single messages.
func (p *pace) choose(n int, inOrder bool) (count int, batch bool) {
	if n == 1 {
		return 1, false
	}
	asBatch := p.batch.or(usualBatch) + time.Duration(n)*p.member.or(usualMember)
	if inOrder { // singles would go one after the other
		return n, n > smallSingles || asBatch < time.Duration(n)*p.single.or(usualSingle)
	}
	batch = asBatch < p.single.or(usualSingle)+time.Duration(n-1)*p.each.or(usualEach)
	if n < smallSingles {
		return n, batch
	}
	// Here a choice makes a difference, and something can be learned.
	singles, batches := p.each.seen, p.batch.seen+p.member.seen
	try := singles < tryFirst || batches < tryFirst
	if try {
		batch = batches < singles
	} else if p.choices++; p.choices%tryEvery == 0 {
		try, batch = true, !batch
	}
	if try && !batch {
		n = smallSingles
	}
	return n, batch
}

// observeSingles learns from n single messages that were all stored.
func (p *pace) observeSingles(n int, took time.Duration) {
	switch {
	case n == 1:
		p.single.add(took)
	case n >= fewSingles:
		p.each.add((took - p.single.or(usualSingle)) / time.Duration(n-1))
	}
}

// observeBatch learns from a batch of n messages that was stored.
func (p *pace) observeBatch(n int, took time.Duration) {
	if n < largeBatch {
		p.batch.add(took - time.Duration(n)*p.member.or(usualMember))
		return
	}
	p.member.add((took - p.batch.or(usualBatch)) / time.Duration(n))
}

// cost is how long something takes: the least of the latest measurements, as
// whatever disturbs one makes it longer.
type cost struct {
	last [4]time.Duration
	seen int
}

func (c *cost) add(took time.Duration) {
	c.last[c.seen%len(c.last)] = max(took, time.Microsecond)
	c.seen++
}

// or returns the cost, or what is assumed if it is not known.
func (c *cost) or(usual time.Duration) time.Duration {
	if c.seen == 0 {
		return usual
	}
	return slices.Min(c.last[:min(c.seen, len(c.last))])
}
