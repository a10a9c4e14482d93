package ledger

import (
	"fmt"
	"slices"
)

// An attempt number stands for a request. One that no receiver had seen when a
// higher one came, or that only a letter counts, was used up for nothing: the
// endpoint got fewer attempts than it was promised. A fault may repeat a number, and
// never skips one: what was not made is made again with its number, and so is what
// had no answer on this side. So no fault explains it.
//
// A replay begins a new generation, whose numbers start anew.

// burned reports the numbers of a pair that were burned, and letters that count
// other attempts than those that were seen.
func (c *checker) burned(p pair, all []*request) {
	replays := c.replays[p]
	top := 0         // the highest of the generation
	var before []int // those of the generations before
	for i, r := range all {
		attempt := int(r.attempt)
		for len(replays) > 0 && replays[0] <= r.began {
			replays = replays[1:]
			before = append(before, top)
			top = 0
		}
		switch {
		case attempt <= top+1:
			top = max(top, attempt)
		case len(before) > 0 && attempt <= slices.Max(before)+1 && c.twoLives(p, all[:i], r):
			// An earlier generation goes on beside this one.
			before = append(before, attempt)
		default:
			c.failBurned(p, all, attempt-top-1, fmt.Sprintf("attempt %d came after attempt %d", attempt, top))
			top = attempt
		}
	}
	seen := append(before, top)
	for _, counted := range c.counted[p] {
		said := fmt.Sprintf("the letter counts %d attempts, seen were %d", counted, slices.Max(seen))
		switch {
		case counted > slices.Max(seen):
			c.failBurned(p, all, counted-slices.Max(seen), said)
		case !slices.Contains(seen, counted) && !c.hit(all):
			o := c.offence(StrangeLetter, p, all)
			o.History = append(o.History, said)
			c.report.fail(o)
		}
	}
}

// failBurned reports so many numbers at once.
func (c *checker) failBurned(p pair, all []*request, numbers int, said string) {
	o := c.offence(Burned, p, all)
	o.History = append(o.History, said)
	c.report.fail(o)
	c.report.Failed[Burned] += numbers - 1
}

// twoLives reports whether a fault may have given the delivery a second life before
// a request.
func (c *checker) twoLives(p pair, earlier []*request, r *request) bool {
	return slices.ContainsFunc(c.faults, func(f Fault) bool {
		return nanos(f.From) <= r.began && (slices.ContainsFunc(earlier, f.struck) || c.underWay(p, &f, earlier))
	})
}

// attempts are those that letters count.
func (c *checker) attempts(letters []Pair) map[pair][]int {
	out := make(map[pair][]int)
	var sources map[string]int32
	if len(letters) > 0 {
		sources = c.bySource()
	}
	for _, named := range letters {
		if p, ok := c.find(named, sources); ok && named.Attempts > 0 {
			out[p] = append(out[p], named.Attempts)
		}
	}
	return out
}

// cutBefore is a request that was cut off when its id was not known yet, and is by
// now.
func (c *checker) cutBefore(s *stray) (request, bool) {
	event, known := c.byID[s.ID]
	endpoint, named := c.numbers[s.Endpoint]
	at := nanos(s.Began)
	return request{event: event, endpoint: endpoint, began: at, ended: at, attempt: int32(s.Attempt), problem: cut}, known && named && s.problem == cut
}
