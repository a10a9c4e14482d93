package subscriber

import (
	"context"
	"iter"
	"slices"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber/lanes"
)

// laneSide is the dispatcher as the lanes see it: a [lanes.Dispatcher].
type laneSide struct{ d *Dispatcher }

func (s laneSide) Endpoint(name string) lanes.Endpoint {
	if e := s.d.endpoint(name); e != nil {
		return e
	}
	return nil // and not a member that is
}

func (s laneSide) Endpoints() iter.Seq2[string, lanes.Endpoint] {
	return func(yield func(string, lanes.Endpoint) bool) {
		for name, e := range *s.d.endpoints.Load() {
			if !yield(name, e) {
				return
			}
		}
	}
}

func (s laneSide) MissingSince(ctx context.Context, endpoint string) (time.Time, error) {
	return s.d.removals.Since(ctx, endpoint)
}

func (s laneSide) Join(endpoint string, now time.Time) {
	if e := s.d.endpoint(endpoint); e != nil {
		s.d.divert(e.join(now))
	}
}

func (s laneSide) Receive(endpoint string, m *intake.Message, removed bool) (window int) {
	return s.receive(endpoint, received(m), removed)
}

func (s laneSide) receive(endpoint string, m message, removed bool) (window int) {
	failpoint.Hit(failpoint.DeliveryFetched)
	now := time.Now()
	dl := &delivery{msg: m, ep: s.d.endpoint(endpoint), lane: true, fresh: m.Msg.Header.Get(wire.HeaderAttempt) == "1"}
	switch {
	case dl.ep == nil && !removed:
		m.Nak() // it was removed a moment ago
	case dl.ep == nil, hasVerdict(dl):
		s.d.beginUnasked(dl)
	case s.expired(dl, now):
		dl.expired = true
		s.d.beginUnasked(dl)
	case dl.ep.offerLane(dl, now):
		s.d.pump(dl.ep)
		if dl.ep.grew.Swap(false) {
			return dl.ep.LaneWindow(now)
		}
	default:
		m.Nak()
	}
	return 0
}

// expired reports whether the delivery has waited too long behind an open
// circuit.
func (s laneSide) expired(dl *delivery, now time.Time) bool {
	is, changed := dl.ep.lapses(dl, now, s.d.opts.ServerTime)
	if changed {
		s.d.lanes.Look() // there may be many of them
	}
	return is
}

func (s laneSide) Polled(ctx context.Context) {
	s.d.drain(ctx)
	s.d.countStates()
}

// Laned reports whether its new deliveries belong into its lane.
func (e *member) Laned() bool { return e.laned.Load() }

// LaneReady reports whether deliveries may be taken from the endpoint's lane.
// If not, at is when that may change by itself.
func (e *member) LaneReady(now time.Time) (is bool, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped || e.gate.IsPaused() || e.target.Ordered && e.draining {
		return false, time.Time{}
	}
	if stands, until := e.lineStands(now); stands {
		return false, until
	}
	if probing, next := e.gate.Probing(now); probing {
		expires := e.expiring && !e.gate.DownSince(now).IsZero()
		return expires || !next.After(now.Add(e.keeps())), next // zero: the probe is out
	}
	until := e.gate.HoldUntil(now)
	return until.IsZero(), until
}

// LaneWindow is how many deliveries of its lane the endpoint can use at once.
func (e *member) LaneWindow(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target.Ordered {
		return 1
	}
	if probing, _ := e.gate.Probing(now); probing {
		return e.lookAhead() + e.inFlight // which began before, and may hang for a while
	}
	window := min(max(4*e.target.MaxInFlight, lanes.MinWindow), lanes.MaxWindow)
	if r := e.target.RateLimit; r.Count > 0 {
		window = min(window, 2*r.Burst())
	}
	return window
}

// OpensLane notes that its lane is opened anew: others may have made attempts of
// the line's first delivery.
func (e *member) OpensLane() (ordered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.headKnown = false
	return e.target.Ordered
}

// offerLane takes a delivery from the endpoint's lane. It reports whether it
// was taken.
func (e *member) offerLane(d *delivery, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	d.since, e.arrived = now, now
	e.queue = append(e.queue, d)
	return true
}

// TakeLane takes what came from the lane out of the queue, to be given back.
func (e *member) TakeLane() []lanes.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []lanes.Message
	e.queue = slices.DeleteFunc(e.queue, func(d *delivery) bool {
		if d.lane {
			out = append(out, d.msg.settler)
		}
		return d.lane
	})
	e.ahead = 0
	return out
}

// join has the endpoint's deliveries go to its lane, where others wait already.
func (e *member) join(now time.Time) []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.toLane(now, "")
}

// Rejoin brings the endpoint back to the fast lane, if nothing but its lane
// keeps it from it.
func (e *member) Rejoin(now time.Time, calm time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target.Ordered || e.moving > 0 || len(e.queue) > 0 || now.Sub(e.lanedSince) < calm {
		return false
	}
	e.gate.Calm(now, calm)
	if e.gate.Barred(now) {
		return false
	}
	e.laned.Store(false)
	return true
}
