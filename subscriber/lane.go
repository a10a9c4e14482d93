package subscriber

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/state"
	"fanjet/internal/wire"
)

const (
	// Bounds of what is held of a lane in memory, in deliveries.
	minLaneWindow = 16
	maxLaneWindow = 512
)

// lane is the lane of one endpoint. Its methods are called with lanes.mu held,
// unless they say otherwise.
type lane struct {
	d    *Dispatcher
	name string

	count  uint64    // messages in the stream, as far as is known
	polls  int       // in a row that found some
	hinted time.Time // when one was last said to have been stored
	empty  time.Time // since when it holds nothing; zero: it holds something

	in     *intake.Intake     // nil: never pulled
	cancel context.CancelFunc // ends the pulling; nil: it is not pulled
	began  time.Time          // when it was pulled last

	running bool          // the pulling has not ended yet
	swept   bool          // what was settled before the pulling ended is removed
	gaveWay time.Time     // when it made room for others because nothing came
	left    time.Time     // when the endpoint returned to the fast lane
	missing state.Absence // of the endpoint from the configuration

	behind  atomic.Int64  // when more waited in it than is held in memory, in ns
	arrived atomic.Int64  // when its consumer was ready, or something came, in ns
	pending atomic.Uint64 // what the server had still to send then
	removed atomic.Bool   // the grace time of its removed endpoint is over

	sweeping  sync.Mutex // held while it is truncated; taken before lanes.mu
	purged    uint64     // what is below is gone; guarded by sweeping
	truncated time.Time  // when that was last looked at; guarded by sweeping
}

func newLane(d *Dispatcher, name string) *lane { return &lane{d: d, name: name} }

func (l *lane) active() bool { return l.cancel != nil }

// polled takes over what the stream said to a question of that time.
func (l *lane) polled(count uint64, asked time.Time) {
	switch {
	case count > 0:
		l.polls++
		l.empty = time.Time{}
	case l.hinted.After(asked):
		return // stored after the answer
	default:
		l.polls = 0
		if l.empty.IsZero() {
			l.empty = asked
		}
	}
	l.count = count
}

// forgettable reports whether nothing is known about the lane that the stream
// would not tell.
func (l *lane) forgettable(now time.Time) bool {
	return l.count == 0 && !l.running && !l.empty.IsZero() && now.Sub(l.empty) > stayAway && (l.in == nil || l.in.Held() == 0)
}

// ready reports whether the lane may be pulled. If it is not, at is when that
// may change by itself.
func (l *lane) ready(now time.Time) (is bool, at time.Time) {
	e := l.d.endpoint(l.name)
	if e == nil {
		if l.count == 0 {
			return false, time.Time{}
		}
		return l.orphaned(now)
	}
	l.missing = state.Absence{}
	l.removed.Store(false)
	if l.active() && l.count == 0 && !l.empty.IsZero() && now.Sub(l.empty) > restAfter {
		return false, time.Time{}
	}
	return e.laneReady(now)
}

// laneReady reports whether deliveries may be taken from the endpoint's lane.
// If not, at is when that may change by itself.
func (e *member) laneReady(now time.Time) (is bool, at time.Time) {
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

// orphaned reports whether the endpoint is missing from the configuration for
// so long that what waits for it is dead-lettered.
func (l *lane) orphaned(now time.Time) (is bool, at time.Time) {
	grace, server := l.d.opts.RemovalGrace, l.d.opts.ServerTime()
	switch {
	case l.missing.Since.IsZero():
		return false, time.Time{} // the next poll tells
	case !l.missing.Over(server, grace):
		return false, now.Add(l.missing.Since.Add(grace).Sub(server))
	case !l.missing.Confirmed(grace):
		return false, time.Time{} // the next poll looks once more
	}
	l.removed.Store(true)
	return true, time.Time{}
}

// spent reports whether the lane is pulled and nothing comes: it can make room
// for others before its turn is over. A busy server may have more for it all
// the same.
func (l *lane) spent(now time.Time) bool {
	return l.pending.Load() == 0 && l.in.Held() == 0 && now.Sub(later(l.began, time.Unix(0, l.arrived.Load()))) > quietTime
}

// waits reports whether it is worth to pull the lane. What is known of one that
// gave way because nothing came is old until it was swept; but to sweep many
// takes time, and it may hold something nevertheless.
func (l *lane) waits(now time.Time) bool {
	return l.count > 0 && !l.running && (l.swept || l.gaveWay.IsZero() || l.hinted.After(l.gaveWay) || now.Sub(l.gaveWay) > turn)
}

// review moves the endpoint to its lane, or back to the fast lane, according to
// what waits in the lane.
func (l *lane) review(now time.Time) {
	e := l.d.endpoint(l.name)
	if e == nil {
		return
	}
	if l.count > 0 && !l.active() {
		l.fellBehind(now) // nobody looks how much waits
	}
	calm := now.Sub(time.Unix(0, l.behind.Load())) > calmFor
	switch {
	case !calm && l.polls >= 3 && now.Sub(l.left) > stayAway && !e.laned.Load():
		l.d.divert(e.join(now))
	case calm && e.laned.Load() && e.rejoin(now, calmFor):
		l.left = now
		l.d.log.Info("endpoint is back in the fast lane", zap.String("endpoint", l.name))
	}
}

// join has the endpoint's deliveries go to its lane, where others wait already.
func (e *member) join(now time.Time) []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.toLane(now, "")
}

// rejoin brings the endpoint back to the fast lane, if nothing but its lane
// keeps it from it.
func (e *member) rejoin(now time.Time, calm time.Duration) bool {
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

// pull begins to take deliveries from the lane.
func (l *lane) pull(ctx context.Context, now time.Time) {
	if l.in == nil {
		l.in = l.intake()
	}
	l.began, l.running, l.swept, l.gaveWay = now, true, false, time.Time{}
	l.arrived.Store(now.Add(turn).UnixNano()) // it is not open yet
	l.pending.Store(0)
	l.resize()
	pulling, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	l.d.lanes.ended.Go(func() {
		l.in.Run(pulling)
		l.giveBack(ctx)
	})
}

// halt stops taking deliveries from the lane. What is being attempted goes on.
func (l *lane) halt() {
	l.cancel()
	l.cancel = nil
}

// giveBack returns what waits in memory and was not attempted, after the
// pulling has ended. It is called without lanes.mu.
func (l *lane) giveBack(ctx context.Context) {
	if e := l.d.endpoint(l.name); e != nil {
		l.giveBackOf(ctx, e)
	}
	l.d.lanes.mu.Lock()
	l.running = false
	l.d.lanes.mu.Unlock()
	l.d.lanes.look()
}

// giveBackOf truncates the lane first, and lets it be then: the server (2.15)
// forgets at a purge which messages were given back, and sends them no sooner
// than after their AckWait.
func (l *lane) giveBackOf(ctx context.Context, e *member) {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	waiting := e.takeLane()
	if len(waiting) > 0 && !l.d.lanes.many() {
		l.d.lanes.sweepOne(ctx, l, true)
	}
	for _, dl := range waiting {
		dl.msg.Nak()
	}
}

// resize sets how much of the lane is held in memory: as much as its endpoint
// is served with in a moment.
func (l *lane) resize() {
	window := maxLaneWindow
	if e := l.d.endpoint(l.name); e != nil {
		window = e.laneWindow(time.Now())
	}
	l.in.SetWindow(window)
}

// laneWindow is how many deliveries of its lane the endpoint can use at once.
func (e *member) laneWindow(now time.Time) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target.Ordered {
		return 1
	}
	if probing, _ := e.gate.Probing(now); probing {
		return e.lookAhead() + e.inFlight // which began before, and may hang for a while
	}
	window := min(max(4*e.target.MaxInFlight, minLaneWindow), maxLaneWindow)
	if r := e.target.RateLimit; r.Count > 0 {
		window = min(window, 2*r.Burst())
	}
	return window
}

func (l *lane) intake() *intake.Intake {
	o := &l.d.opts
	return intake.New(intake.Options{
		Conn:     o.Conn,
		Stream:   o.Names.LanesStream(),
		Consumer: o.Names.LaneConsumer(l.name),
		Prefix:   l.d.apiPrefix(),
		Open:     l.open,
		Handle:   l.handle,
		State: func(err error) {
			if err != nil {
				l.d.sampled.Warn("a lane cannot be read; trying again", zap.String("endpoint", l.name), zap.Error(err))
			}
		},
		Window:      minLaneWindow,
		WindowBytes: 1,                 // as little as a large event needs
		Remember:    8 * maxLaneWindow, // more than is settled between two truncations, mostly
		Beat:        beat,
		AckWait:     wire.DeliverAckWait,
		ServerTime:  o.ServerTime,
	})
}

// open makes sure that the lane has a consumer. It is called without lanes.mu.
func (l *lane) open(ctx context.Context) error {
	e := l.d.endpoint(l.name)
	ordered := e != nil && e.settings().Ordered
	if e != nil {
		e.forgetHead()
	}
	err := l.d.opts.OpenLane(ctx, l.name, ordered)
	l.arrived.Store(time.Now().UnixNano())
	return err
}

// handle takes a message off the wire. It never blocks, and is called without
// lanes.mu.
func (l *lane) handle(m *intake.Message) {
	failpoint.Hit(failpoint.DeliveryFetched)
	now := time.Now()
	l.arrived.Store(now.UnixNano())
	l.pending.Store(m.Pending)
	if m.Pending > 0 {
		l.fellBehind(now)
	}
	dl := &delivery{msg: m, ep: l.d.endpoint(l.name), lane: true, fresh: m.Msg.Header.Get(wire.HeaderAttempt) == "1"}
	switch {
	case dl.ep == nil && !l.removed.Load():
		m.Nak() // it was removed a moment ago
	case dl.ep == nil, hasVerdict(dl):
		l.d.beginUnasked(dl)
	case l.expired(dl):
		dl.expired = true
		l.d.beginUnasked(dl)
	case dl.ep.offerLane(dl, now):
		l.d.pump(dl.ep)
		if dl.ep.grew.Swap(false) {
			l.in.SetWindow(dl.ep.laneWindow(now))
		}
	default:
		m.Nak()
	}
}

func (l *lane) fellBehind(now time.Time) { l.behind.Store(now.UnixNano()) }

// expired reports whether the delivery has waited too long behind an open
// circuit.
func (l *lane) expired(dl *delivery) bool {
	is, changed := dl.ep.lapses(dl, time.Now(), l.d.opts.ServerTime)
	if changed {
		l.d.lanes.look() // there may be many of them
	}
	return is
}
