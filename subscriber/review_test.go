package subscriber

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

// wait has deliveries of an endpoint wait in the fast lane since a time.
func (h *hand) wait(e *member, n int, since time.Time) (all []*held) {
	for range n {
		dl, _, s := h.delivery(unchanged)
		dl.ep = e
		dl.msg.Msg.Subject = h.opts.Names.DeliverSubject(e.name)
		if v, _ := e.offer(dl, since); v != accepted {
			h.Fatalf("not accepted: %v", v)
		}
		all = append(all, s)
	}
	return all
}

// stored answers what is moved to lanes, and returns how many those are.
func (h *hand) stored() (n int) {
	for ; len(h.moves.came) > 0; n++ {
		(<-h.moves.came).answer(nil)
	}
	return n
}

// An endpoint whose deliveries wait longer than those of others leaves them, with all
// that waits for it. The others stay.
//
// Promise 3.
func TestReviewSendsAwayWhoCannotKeepUp(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		now, other := time.Now(), h.add("b")
		slow := h.wait(h.e, 3, now.Add(-maxWait-1))
		fine := h.wait(other, 3, now)
		h.fast.review(now)
		if n := h.stored(); n != 3 || !h.e.Laned() || other.Laned() {
			t.Errorf("%d are moved; laned: %v, the other %v", n, h.e.Laned(), other.Laned())
		}
		for _, s := range slow {
			h.check(s, "ack")
		}
		for _, s := range fine {
			h.check(s, "")
		}
		if st := h.e.status(now); st.State != endpoint.StateSlow || st.Reason == "" || st.Held != 0 {
			t.Errorf("%+v", st)
		}
		// What comes now goes the same way.
		dl, _, s := h.delivery(unchanged)
		h.admit(dl.msg)
		if n := h.stored(); n != 1 {
			t.Errorf("%d are moved", n)
		}
		h.check(s, "ack")
		h.fast.review(now)
		if n := len(other.queue); n != 3 || len(h.fast.busy) != 1 {
			t.Errorf("the other has %d; %d are busy", n, len(h.fast.busy))
		}
	})
}

// Deliveries from before an endpoint was ordered do not go to its lane, where newer
// ones wait: they come again later, and it is no attempt.
func TestReviewOfADrainingEndpoint(t *testing.T) {
	t.Parallel()
	inHand(t, func(e *endpoint.Settings) { e.Ordered = true }, func(h *hand) {
		now, other := time.Now(), h.add("b")
		h.e.draining = true
		slow := h.wait(h.e, 2, now.Add(-maxWait-1))
		h.wait(other, 1, now)
		h.fast.review(now)
		for range slow {
			h.check(slow[0], "")
		}
		for _, s := range slow {
			(<-h.retries.came).answer(nil)
			h.check(s, "ack")
		}
		if h.e.moving != 0 {
			t.Errorf("%d are on their way", h.e.moving)
		}
	})
}

// An endpoint that takes nearly all of the fast lane gives way when others stand behind
// a backlog, and only when that lasts.
func TestReviewHasTheGreedyGiveWay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		backlog int64
		n       int // of the greedy one
		alone   bool
		want    bool
	}{
		"a backlog":     {backlog: 1, n: mostAhead, want: true},
		"no backlog":    {backlog: 0, n: mostAhead},
		"not so greedy": {backlog: 1, n: mostAhead/2 - 1},
		"alone":         {backlog: 1, n: mostAhead, alone: true},
	} {
		inHand(t, asItIs, func(h *hand) {
			h.moves.came = make(chan *sent, mostAhead)
			now := time.Now()
			greedy := h.wait(h.e, test.n, now)
			if !test.alone {
				h.wait(h.add("b"), 1, now)
			}
			h.fast.backlog.Store(test.backlog)
			review := func(at time.Time) {
				for _, e := range *h.endpoints.Load() {
					for _, d := range e.queue {
						d.since = at // it waits for no time, it is only that there is much
					}
				}
				h.fast.review(at)
			}
			review(now)
			review(now.Add(busyFor))
			if n := h.stored(); n != 0 {
				t.Errorf("%s: %d are moved at once", name, n)
			}
			review(now.Add(busyFor + 1))
			if n := h.stored(); (n == len(greedy)) != test.want || h.e.Laned() != test.want {
				t.Errorf("%s: %d are moved, laned %v", name, n, h.e.Laned())
			}
		})
	}
}
