package source

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"fanjet/gateway/topology"
)

// An event that is delivered directly is held for a second at most, and for 100 ms once
// anything of it is stored: then all of it is to be stored, so that a crash, which makes
// the server forget that the event came, makes no second life of what was stored.
const (
	holdFor       = time.Second
	holdStoredFor = 100 * time.Millisecond
	heldEvery     = 25 * time.Millisecond
	// holdLonger is when deliveries are not made directly any more: what should be stored
	// is not.
	holdLonger = 2 * holdFor
	// lapsedFor is how long an event may count as somebody else's before it is let go: the
	// server would have sent it here again by then.
	lapsedFor = 2 * topology.MatchAckWait
)

// held are the events of a matcher that are delivered directly and not settled yet.
type held struct {
	connected atomic.Bool  // the connection stood at the latest look: to ask it costs its lock
	overdue   atomic.Bool  // some should be settled
	waited    atomic.Int64 // how long an event waited here before it was handled, at most, since the latest look
	window    int          // how many events are in memory at most

	mu    sync.Mutex
	first fanout // of the ring: next is the oldest
	n     int

	writing sync.Mutex
	write   []*fanoutDelivery // to be stored
	wake    chan struct{}     // has room for one: write may not be empty
}

func (h *held) init(connected bool) {
	h.connected.Store(connected)
	h.first.prev, h.first.next = &h.first, &h.first
	h.window = firstAhead
	h.wake = make(chan struct{}, 1)
}

func (h *held) add(f *fanout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.prev, f.next = h.first.prev, &h.first
	f.prev.next, f.next.prev = f, f
	h.n++
}

func (h *held) remove(f *fanout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
	h.n--
}

// count is how many there are.
func (h *held) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// writeDown has a delivery stored that was given back. It does not block.
func (h *held) writeDown(d *fanoutDelivery) {
	h.writing.Lock()
	h.write = append(h.write, d)
	h.writing.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// takeWrite returns what is to be stored.
func (h *held) takeWrite() []*fanoutDelivery {
	h.writing.Lock()
	defer h.writing.Unlock()
	all := h.write
	h.write = nil
	return all
}

// keepHeld stores what is given back, and what takes too long, until ctx ends.
func (m *Matcher) keepHeld(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { m.storeGivenBack(ctx) })
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			now := time.Now()
			m.lookAtConnection()
			m.lookAtHeld(now)
			m.setWindow()
			m.counts.held.Set(float64(m.held.count()))
		}
	}
	both.Wait()
}

// storeGivenBack stores what is given back.
func (m *Matcher) storeGivenBack(ctx context.Context) {
	var parked []*fanoutDelivery
	look := time.NewTicker(4 * heldEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, d := range append(parked, m.held.takeWrite()...) {
				d.fanout.done(false)
			}
			return
		case <-look.C:
		case <-m.held.wake:
		}
		all := append(parked, m.held.takeWrite()...)
		waiting := all[:0]
		for _, d := range all {
			switch {
			case !d.Lapsed():
				d.store(d.why)
			case d.fanout.gone(time.Now()):
				d.fanout.done(false)
			default:
				// Somebody else has the event, or it comes here again in a moment. Given back,
				// what was delivered of it would be repeated.
				waiting = append(waiting, d)
			}
		}
		clear(all[len(waiting):])
		parked = waiting
	}
}

// gone reports whether the event is somebody else's for certain.
func (f *fanout) gone(now time.Time) bool {
	if !f.matcher.opts.Conn.IsConnected() || f.lapsed.IsZero() {
		f.lapsed = now // the server could not send it
	}
	return now.Sub(f.lapsed) > lapsedFor
}

// lookAtConnection notes whether the connection stands.
func (m *Matcher) lookAtConnection() { m.held.connected.Store(m.opts.Conn.IsConnected()) }

// lookAtHeld has stored what is held for too long.
func (m *Matcher) lookAtHeld(now time.Time) {
	var late []*fanout
	overdue := false
	m.held.mu.Lock()
	for f := m.held.first.next; f != &m.held.first; f = f.next {
		age := now.Sub(f.msg.Received)
		stored := f.storedAt.Load()
		if age < holdFor-2*heldEvery && (stored == 0 || now.UnixNano()-stored < int64(holdStoredFor-heldEvery)) {
			continue
		}
		late = append(late, f)
		overdue = overdue || age > holdLonger
	}
	m.held.mu.Unlock()
	for _, f := range late {
		if f.msg.Lapsed() {
			continue
		}
		for i := range f.deliveries {
			if d := &f.deliveries[i]; d.out.Load() == isOut {
				m.opts.Direct.Secure(&d.direct)
			}
		}
	}
	m.held.overdue.Store(overdue)
}

const (
	// aheadFor is how long an event of a source that is delivered directly waits here before
	// it is offered: the window gets narrower when it is longer, and wider when it is less
	// than half of that. Else events would be held for too long before they are offered.
	aheadFor   = holdFor / 4
	leastAhead = 16
	firstAhead = 64
)

// setWindow sets how many events are in memory.
func (m *Matcher) setWindow() {
	waited := time.Duration(m.held.waited.Swap(0))
	window := m.held.window
	switch {
	case m.opts.Direct == nil || !m.opts.Direct.TakesDirect():
		window = topology.MatchWindow
	case waited > aheadFor:
		window = max(leastAhead, window*3/4)
	case waited < aheadFor/2 && len(m.queue) == 0 && m.in.Full(): // it is the window that is waited for
		window = min(topology.MatchWindow, 2*window)
	}
	m.held.window = window
	m.in.SetWindow(window)
}

// noteStored notes that something of the event is stored.
func (f *fanout) noteStored() { f.storedAt.CompareAndSwap(0, time.Now().UnixNano()) }
