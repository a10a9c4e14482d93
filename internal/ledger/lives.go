package ledger

import (
	"math"
	"time"
)

// A delivery that meets no fault is one life: attempts with rising numbers, one
// after the other, each but the last answered with a failure or not at all. A
// fault may give it a second life: what was done shortly before is done again,
// or what it had become goes on beside it. Every life after the first needs a
// reason of its own: a fault that struck an earlier request, or a replay.

// lives divides the requests of a pair into lives, looks for the reason of each,
// and returns how many there are. all is what offences show.
func (c *checker) lives(p pair, requests, all []*request) int {
	if len(requests) < 2 {
		return len(requests)
	}
	var latest []*request // of each life
	var used []reason
	replays := c.replays[p]
	for i, r := range requests {
		c.overlap(p, requests[:i], r, all)
		if life := continued(latest, r); life >= 0 {
			latest[life] = r
			continue
		}
		latest = append(latest, r)
		if i == 0 {
			continue
		}
		if len(replays) > 0 && replays[0] <= r.began {
			replays = replays[1:]
			continue
		}
		if why, ok := c.reason(requests[:i], r, used); ok {
			used = append(used, why)
			c.report.Explained[Repeat]++
			c.report.furthest(time.Duration(nanos(c.faults[why.fault].From) - requests[why.request].end()))
			continue
		}
		c.report.fail(c.offence(Repeat, p, all))
	}
	return len(latest)
}

// continued returns which life a request goes on with, -1 for none.
func continued(latest []*request, r *request) int {
	for i, before := range latest {
		if !before.ok() && before.attempt < r.attempt {
			return i
		}
	}
	return -1
}

// reason is a request that a fault struck.
type reason struct{ request, fault int }

// reason finds why r was sent although earlier requests were: the fault that
// reached back the least, and that explains no other repeat.
func (c *checker) reason(earlier []*request, r *request, used []reason) (reason, bool) {
	best, distance := reason{-1, -1}, int64(math.MaxInt64)
	for n := range c.faults {
		f := &c.faults[n]
		if nanos(f.From) > r.began {
			continue
		}
		for i, before := range earlier {
			why := reason{i, n}
			if d := max(0, nanos(f.From)-before.end()); f.struck(before) && d < distance && !contains(used, why) {
				best, distance = why, d
			}
		}
	}
	return best, best.fault >= 0
}

func contains(reasons []reason, r reason) bool {
	for _, known := range reasons {
		if known == r {
			return true
		}
	}
	return false
}

// overlap reports a request that began while an earlier one had not ended. The
// receiver may still be at work for a process that is dead: then a fault came
// between the two.
func (c *checker) overlap(p pair, earlier []*request, r *request, all []*request) {
	for _, before := range earlier {
		if before.end() <= r.began {
			continue
		}
		for n := range c.faults {
			if f := &c.faults[n]; nanos(f.From) <= r.began && before.began <= f.until() {
				c.report.Explained[Overlap]++
				return
			}
		}
		c.report.fail(c.offence(Overlap, p, all))
		return
	}
}
