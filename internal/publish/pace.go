package publish

import (
	"cmp"
	"time"
)

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
	// 0: not known yet.
	single time.Duration // one message, alone
	each   time.Duration // a message more, pipelined
	batch  time.Duration // a batch, beyond its messages
	member time.Duration // a message of a batch

	choices int // of which one would have made a difference
}

const (
	// What is assumed before it is known: a disk that is synced.
	usualSingle = 400 * time.Microsecond
	usualBatch  = 3500 * time.Microsecond
	usualMember = 40 * time.Microsecond

	// smallSingles is how many messages are pipelined while it is not known, or
	// tried again, what that costs: a disk may be slow to sync.
	smallSingles = 32
	// largeBatch is the size from which a batch tells more about its messages
	// than about itself.
	largeBatch = 256
	// tryEvery is after how many choices the other way is tried; the first time
	// after firstTry.
	tryEvery, firstTry = 64, 2
	// fewSingles tell more about the first message than about each.
	fewSingles = 8
)

// choose says how many of n messages go next, and whether as an atomic batch or
// as single messages.
func (p *pace) choose(n int, inOrder bool) (count int, batch bool) {
	if n == 1 {
		return 1, false
	}
	asBatch := cmp.Or(p.batch, usualBatch) + time.Duration(n)*cmp.Or(p.member, usualMember)
	if inOrder { // singles would go one after the other
		return n, n > smallSingles || asBatch < time.Duration(n)*cmp.Or(p.single, usualSingle)
	}
	batch = asBatch < cmp.Or(p.single, usualSingle)+time.Duration(n-1)*p.each
	tried := false
	if n >= smallSingles {
		p.choices++
		if tried = p.choices%tryEvery == firstTry; tried {
			batch = !batch
		}
	}
	if !batch && (tried || p.each == 0) {
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
	learn(&p.each, (took-cmp.Or(p.single, usualSingle))/time.Duration(n-1))
}

// observeBatch learns from a batch of n messages that was stored.
func (p *pace) observeBatch(n int, took time.Duration) {
	if n < largeBatch {
		learn(&p.batch, took-time.Duration(n)*cmp.Or(p.member, usualMember))
		return
	}
	learn(&p.member, (took-cmp.Or(p.batch, usualBatch))/time.Duration(n))
}

// learn moves what is known towards what was measured. What disturbs a
// measurement makes it longer, so a longer one counts for less.
func learn(known *time.Duration, measured time.Duration) {
	measured = max(measured, time.Microsecond)
	switch {
	case *known == 0:
		*known = measured
	case measured < *known:
		*known = (*known + measured) / 2
	default:
		*known += (min(measured, 4**known) - *known) / 4
	}
}
