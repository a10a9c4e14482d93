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
	single cost // one message, alone; counts as nothing until it is known
	each   cost // a message more, pipelined; the same
	batch  cost // a batch of stockSize messages, beyond one message

	choices  int  // since both ways are known
	unsynced bool // it is known what is less
	patient  bool // nobody waits for what is published
}

const (
	// Time that a batch takes by itself, and more for each message, on a machine
	// that is not busy. Others differ by a factor, which is what is learned.
	batchItself = 3500 * time.Microsecond
	batchEach   = 40 * time.Microsecond
	stockSize   = 1000

	// preference is how much sooner a batch must be done, in percent: writing
	// twice is work for the processors, even where nobody waits for it.
	preference = 150
	// patience is the same where time does not matter, but syncs of the disk do, which
	// others wait for: it may take twice as long.
	patience = 50

	// smallSingles is how many messages are pipelined when nothing is known: a disk
	// may be slow to sync. From then on a trial may take tryTime.
	smallSingles = 32
	tryTime      = 50 * time.Millisecond
	// fewSingles tell more about the first message than about each.
	fewSingles = 8
	// tryFirst is how often each way is tried before one is chosen.
	tryFirst = 3
	// tryEvery is after how many choices the other way is tried.
	tryEvery = 64
	// remembered is of how many measurements the least counts.
	remembered = 4
)

// tryEarly are choices at which it is tried too: a gateway that starts is busy
// with other things, and measures little but that.
var tryEarly = [...]int{4, 8, 16, 32}

// choose says how many of n messages go next, and whether as an atomic batch or
// as single messages.
func (p *pace) choose(n int, inOrder bool) (count int, batch bool) {
	if n == 1 || p.unsynced && !inOrder {
		return n, false
	}
	asBatch := p.single.or(0) + scale(p.batch.or(stock(stockSize)), stockSize, n)
	if inOrder { // singles would go one after the other
		return n, n > smallSingles || asBatch < time.Duration(n)*p.single.or(0)
	}
	asSingles := p.single.or(0) + time.Duration(n-1)*p.each.or(0)
	batch = asBatch*p.preference()/100 < asSingles
	if n < smallSingles {
		return n, batch
	}
	// Here a choice makes a difference, and something can be learned.
	trial := p.each.seen < tryFirst || p.batch.seen < tryFirst
	if trial {
		batch = p.batch.seen < p.each.seen
	} else if p.choices++; p.choices%tryEvery == 0 || slices.Contains(tryEarly[:], p.choices) {
		trial, batch = true, !batch
	}
	if trial && !batch {
		n = min(n, max(smallSingles, int(tryTime/p.each.or(tryTime))))
	}
	return n, batch
}

func (p *pace) preference() time.Duration {
	if p.patient {
		return patience
	}
	return preference
}

// stock is what a batch of n messages takes on a machine that is not busy.
func stock(n int) time.Duration { return batchItself + time.Duration(n)*batchEach }

// scale makes the time of a batch that of one of another size.
func scale(took time.Duration, from, to int) time.Duration {
	return time.Duration(float64(took) * float64(stock(to)) / float64(stock(from)))
}

// observeSingles learns from n single messages that were all stored.
func (p *pace) observeSingles(n int, took time.Duration) {
	switch {
	case n == 1:
		p.single.add(took)
	case n >= fewSingles:
		p.each.add((took - p.single.or(0)) / time.Duration(n-1))
	}
}

// observeBatch learns from a batch of n messages that was stored.
func (p *pace) observeBatch(n int, took time.Duration) {
	p.batch.add(scale(took-p.single.or(0), n, stockSize))
}

// cost is how long something takes: the least of the latest measurements, as
// whatever disturbs one makes it longer.
type cost struct {
	last [remembered]time.Duration
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
