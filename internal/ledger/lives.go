package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// A delivery that meets no fault is one life: attempts with rising numbers, one
// after the other, each but the last answered with a failure or not at all. An
// attempt that got no answer may have been tried once more, at once and with its
// number: the connection was an old one.
//
// A fault may give the delivery a second life: what was done shortly before is
// done again, or what it had become goes on beside it. Every life after the first
// needs a reason of its own: a request that a fault struck; a replay; or that the
// fault struck the delivery while it was under way. That counts twice for every
// fault, since besides its attempt a delivery has two hops of which the first half
// can be done and the second be lost: its event may be fanned out again, and what
// it was moved to (a lane, a schedule) may go on beside it.

// lives divides the requests of a pair into lives, looks for the reason of each,
// and returns how many there are. all is what offences show.
func (c *checker) lives(p pair, requests, all []*request) int {
	if len(requests) < 2 {
		return len(requests)
	}
	var latest []life
	var used []reason
	replays := c.replays[p]
	for i, r := range requests {
		if l := continued(latest, r); l != nil {
			again := l.attempt == r.attempt
			switch {
			case again && c.hit([]*request{l.request}):
				c.report.Explained[Repeat]++
			case again:
				c.report.Again++
			}
			*l = life{request: r, again: again}
			continue
		}
		latest = append(latest, life{request: r})
		if i == 0 {
			continue
		}
		if len(replays) > 0 && replays[0] <= r.began {
			replays = replays[1:]
			continue
		}
		if why, ok := c.reason(p, requests[:i], r, used); ok {
			used = append(used, why)
			c.report.Explained[Repeat]++
			if why.request >= 0 {
				c.report.furthest(time.Duration(nanos(c.faults[why.fault].From) - requests[why.request].end()))
			}
			continue
		}
		c.report.fail(c.offence(Repeat, p, all))
	}
	for i, r := range requests {
		c.overlap(p, requests[:i], r, all, len(used) > 0)
	}
	return len(latest)
}

// life is the latest request of one.
type life struct {
	*request
	again bool // it was the second try of its attempt
}

// continued returns the life that a request goes on with, nil for none.
func continued(lives []life, r *request) *life {
	for i := range lives {
		before := &lives[i]
		again := before.attempt == r.attempt && before.status == 0 && before.end() <= r.began && !before.again
		if !before.ok() && (before.attempt < r.attempt || again) {
			return before
		}
	}
	return nil
}

// hops is how many lives a fault explains that struck no request, see above.
const hops = 2

// reason is why something was sent again: a fault, and the request that it
// struck. Below 0 it struck the delivery between two, once for each of its hops.
type reason struct{ request, fault int }

// reason finds why r was sent although earlier requests were: the fault that
// reached back the least, and that explains no other repeat.
func (c *checker) reason(p pair, earlier []*request, r *request, used []reason) (reason, bool) {
	best, distance := reason{fault: -1}, int64(math.MaxInt64)
	for n := range c.faults {
		f := &c.faults[n]
		if nanos(f.From) > r.began || slices.ContainsFunc(earlier, func(e *request) bool { return f.leaves(e, r) }) {
			continue
		}
		for i, before := range earlier {
			if !f.struck(before) {
				continue
			}
			why := reason{i, n}
			if d := max(0, nanos(f.From)-before.end()); d < distance && !slices.Contains(used, why) {
				best, distance = why, d
			}
		}
		for hop := -1; hop >= -hops && best.fault < 0 && c.underWay(p, f, earlier); hop-- {
			if why := (reason{hop, n}); !slices.Contains(used, why) {
				best = why
			}
		}
	}
	return best, best.fault >= 0
}

// underWay reports whether a fault came while the delivery was stored, and the
// endpoint had not accepted it.
func (c *checker) underWay(p pair, f *Fault, requests []*request) bool {
	e := &c.events[p.event]
	if cmp.Or(e.given, e.accepted) > f.until() {
		return false
	}
	for _, r := range requests {
		if r.ok() && r.end() < nanos(f.From)-int64(f.Reach) {
			return false
		}
	}
	return true
}

// overlap reports a request that began while an earlier one had not ended. The
// receiver may still be at work for a process that is dead: then a fault came
// between the two. And where a fault gave the delivery a second life, the two may
// meet: split says so.
func (c *checker) overlap(p pair, earlier []*request, r *request, all []*request, split bool) {
	for _, before := range earlier {
		if before.end() <= r.began {
			continue
		}
		for n := range c.faults {
			if f := &c.faults[n]; nanos(f.From) <= r.began && before.began <= f.until() && !f.leaves(before, r) {
				c.report.Explained[Overlap]++
				return
			}
		}
		if split {
			c.report.Explained[Overlap]++
			return
		}
		c.report.fail(c.offence(Overlap, p, all))
		return
	}
}
