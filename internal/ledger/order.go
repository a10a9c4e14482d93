package ledger

import (
	"cmp"
	"slices"
)

// first is when an ordered endpoint accepted an event for the first time.
type first struct {
	pair
	began int64
}

func (c *checker) noteFirst(p pair, began int64) {
	if c.firsts == nil {
		c.firsts = map[int32][]first{}
	}
	c.firsts[p.endpoint] = append(c.firsts[p.endpoint], first{p, began})
}

// checkOrder reports events that an ordered endpoint accepted before one that
// comes before them in the same source. No fault explains that.
func (c *checker) checkOrder() {
	for _, firsts := range c.firsts {
		slices.SortFunc(firsts, func(a, b first) int {
			x, y := &c.events[a.event], &c.events[b.event]
			return cmp.Or(cmp.Compare(x.stream, y.stream), cmp.Compare(x.sequence, y.sequence))
		})
		for i := 1; i < len(firsts); i++ {
			before, after := firsts[i-1], firsts[i]
			if c.events[before.event].stream == c.events[after.event].stream && after.began < before.began {
				o := c.offence(OutOfOrder, after.pair, c.requestsOf(after.pair))
				earlier := c.offence(OutOfOrder, before.pair, c.requestsOf(before.pair))
				o.History = append(o.History, "and before it "+earlier.Pair.Source+" "+earlier.Pair.ID)
				c.report.fail(Offence{Kind: OutOfOrder, Pair: o.Pair, History: append(o.History, earlier.History...)})
			}
		}
	}
}

// requestsOf collects the requests of a pair the slow way, for an offence that is
// shown.
func (c *checker) requestsOf(p pair) []*request {
	if len(c.report.Offences) >= maxOffences {
		return nil
	}
	var out []*request
	for i := range c.requests {
		if r := &c.requests[i]; r.event == p.event && r.endpoint == p.endpoint {
			out = append(out, r)
		}
	}
	return out
}
