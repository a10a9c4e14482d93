package ledger

import (
	"cmp"
	"slices"
	"strconv"
)

// Pair names an event and an endpoint: the event by its webhook-id or, where no
// request has told that yet, by its source, "STREAM/sequence".
type Pair struct {
	Endpoint string
	ID       string
	Source   string
	// Reason is why it is dead, if that is known.
	Reason string
	// Attempts are those that its letter counts. 0: none, or that is not known.
	Attempts int
}

// Standing is what is known besides requests at the time of a check.
type Standing struct {
	Dead    []Pair // in the dead-letter queue
	Pending []Pair // stored, and not settled
}

// Check compares both sides. It may be called at any time: what neither arrived
// nor is in the standing is lost.
func (l *Ledger) Check(s Standing) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := checker{Ledger: l, report: Report{Explained: map[Kind]int{}, Failed: map[Kind]int{}}}
	c.dead = c.standing(s.Dead, StrangeLetter)
	c.counted = c.attempts(s.Dead)
	c.pending = c.standing(s.Pending, StrangePending)
	c.report.Faults = len(l.faults)
	c.report.Requests = len(l.requests) + len(l.strays)
	requests := l.requests
	for i := range l.strays {
		if r, ok := c.cutBefore(&l.strays[i]); ok {
			requests = append(slices.Clip(requests), r)
			continue
		}
		c.stray(&l.strays[i])
	}

	order := make([]int32, len(requests))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &requests[i], &requests[j]
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.began, b.began))
	})
	var of []*request
	take := func(p pair) []*request {
		of = of[:0]
		for len(order) > 0 {
			r := &requests[order[0]]
			if r.event != p.event || r.endpoint != p.endpoint {
				break
			}
			of = append(of, r)
			order = order[1:]
		}
		return of
	}
	for n := range l.events {
		e := &l.events[n]
		if e.accepted == 0 {
			c.report.Maybe++
		} else {
			c.report.Accepted++
		}
		for _, endpoint := range l.sets[e.set] {
			p := pair{int32(n), endpoint}
			for len(order) > 0 && requests[order[0]].event == p.event && requests[order[0]].endpoint < endpoint {
				c.foreign(take(pair{p.event, requests[order[0]].endpoint}))
			}
			c.pair(p, take(p))
		}
		for len(order) > 0 && requests[order[0]].event == int32(n) {
			c.foreign(take(pair{int32(n), requests[order[0]].endpoint}))
		}
	}
	c.checkOrder()
	return c.report
}

// checker is a check on its way.
type checker struct {
	*Ledger
	dead    map[pair]string // the reasons
	pending map[pair]string
	counted map[pair][]int    // attempts, by letters
	firsts  map[int32][]first // of ordered endpoints
	report  Report
}

// standing resolves pairs, to their reasons; those of no event are reported.
func (c *checker) standing(pairs []Pair, strange Kind) map[pair]string {
	out := make(map[pair]string, len(pairs))
	var sources map[string]int32
	if len(pairs) > 0 {
		sources = c.bySource()
	}
	for _, named := range pairs {
		p, ok := c.find(named, sources)
		if !ok || !c.expected(p) {
			c.report.fail(Offence{Kind: strange, Pair: named})
			continue
		}
		// A second letter changes nothing, unless it tells something else.
		if before, twice := out[p]; twice && before != named.Reason {
			out[p] = before + " and " + named.Reason
			continue
		}
		out[p] = named.Reason
	}
	return out
}

// bySource indexes the events by where they are stored. The caller holds mu.
func (l *Ledger) bySource() map[string]int32 {
	index := make(map[string]int32, len(l.events))
	for n := range l.events {
		if source := l.source(&l.events[n]); source != "" {
			index[source] = int32(n)
		}
	}
	return index
}

func (l *Ledger) source(e *event) string {
	if e.sequence == 0 {
		return ""
	}
	return l.names[e.stream] + "/" + strconv.FormatUint(e.sequence, 10)
}

// find resolves a pair. The caller holds mu.
func (l *Ledger) find(named Pair, sources map[string]int32) (pair, bool) {
	n, ok := l.byID[named.ID]
	if !ok {
		n, ok = sources[named.Source]
	}
	endpoint, known := l.numbers[named.Endpoint]
	return pair{n, endpoint}, ok && known
}

func (l *Ledger) expected(p pair) bool {
	_, ok := slices.BinarySearch(l.sets[l.events[p.event].set], p.endpoint)
	return ok
}

// stray judges a request of no event.
func (c *checker) stray(s *stray) {
	o := Offence{Kind: s.problem.kind(), Pair: Pair{Endpoint: s.Endpoint, ID: s.ID}}
	if s.problem == cut && c.excuse(nanos(s.Began), nanos(s.Began)) {
		c.report.Explained[Cut]++
		return
	}
	c.report.fail(o)
}

// excuse reports whether a fault was in force at some time between two.
func (c *checker) excuse(from, until int64) bool {
	return slices.ContainsFunc(c.faults, func(f Fault) bool {
		return from <= f.until() && until >= nanos(f.From)-int64(f.Reach)
	})
}

// foreign judges the requests to an endpoint that was not to get the event.
func (c *checker) foreign(requests []*request) {
	p := pair{requests[0].event, requests[0].endpoint}
	c.faulty(p, requests)
}

// faulty reports requests that are wrong by themselves, and returns the others.
func (c *checker) faulty(p pair, requests []*request) []*request {
	if !slices.ContainsFunc(requests, func(r *request) bool { return r.problem != sound }) {
		return requests
	}
	ok := make([]*request, 0, len(requests))
	for _, r := range requests {
		switch {
		case r.problem == sound:
			ok = append(ok, r)
		case r.problem == cut && c.excuse(r.began, r.began):
			c.report.Explained[Cut]++
		default:
			c.report.fail(c.offence(r.problem.kind(), p, requests))
		}
	}
	return ok
}

// pair judges an event at an endpoint that must get it.
func (c *checker) pair(p pair, all []*request) {
	requests := c.faulty(p, all)
	e := &c.events[p.event]
	accepted := slices.IndexFunc(requests, (*request).ok)
	_, dead := c.dead[p]
	_, pending := c.pending[p]
	switch {
	case accepted >= 0:
		c.report.Delivered++
		if c.ordered[p.endpoint] && e.sequence > 0 && len(c.replays[p]) == 0 {
			c.noteFirst(p, requests[accepted].began)
		}
	case dead:
		c.report.Dead++
	case pending:
		c.report.Pending++
	case e.accepted == 0:
		c.report.Absent++
	default:
		c.report.fail(c.offence(Lost, p, all))
	}
	if e.accepted != 0 {
		c.report.Pairs++
	}
	lives := c.lives(p, requests, all)
	c.burned(p, all)
	c.foretold(p, accepted >= 0, all)
	if accepted >= 0 && dead {
		c.report.DeadToo++
		if lives <= 1 && !c.hit(requests) {
			c.report.fail(c.offence(StrangeLetter, p, all))
		}
	}
}

// foretold compares what became of a pair with what was foretold. What is lost,
// pending or absent has become nothing yet, and is told as that.
func (c *checker) foretold(p pair, accepted bool, all []*request) {
	want, known := c.outcomes[p]
	reason, dead := c.dead[p]
	if !known || !accepted && !dead {
		return
	}
	is := Outcome(reason)
	switch {
	case accepted && dead:
		is = Accepted + " and " + is
	case accepted:
		is = Accepted
	}
	if is != want {
		o := c.offence(OtherOutcome, p, all)
		o.History = append(o.History, "its outcome is "+string(is)+", foretold was "+string(want))
		c.report.fail(o)
	}
}

// ok reports whether the receiver took the request.
func (r *request) ok() bool { return r.status >= 200 && r.status < 300 }

// hit reports whether a fault may have hit one of the requests.
func (c *checker) hit(requests []*request) bool {
	return slices.ContainsFunc(requests, func(r *request) bool {
		return slices.ContainsFunc(c.faults, func(f Fault) bool { return f.struck(r) })
	})
}
