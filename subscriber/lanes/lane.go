package lanes

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/intake"
	"fanjet/internal/state"
	"fanjet/internal/wire"
)

// Bounds of what is held of a lane in memory, in deliveries.
const (
	MinWindow = 16
	MaxWindow = 512
)

// lane is the lane of one endpoint. Its methods are called with Lanes.mu held,
// unless they say otherwise.
type lane struct {
	all  *Lanes
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

	sweeping  sync.Mutex // held while it is truncated; taken before Lanes.mu
	purged    uint64     // what is below is gone; guarded by sweeping
	truncated time.Time  // when that was last looked at; guarded by sweeping
}

func newLane(all *Lanes, name string) *lane { return &lane{all: all, name: name} }

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
	e := l.all.d.Endpoint(l.name)
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
	return e.LaneReady(now)
}

// orphaned reports whether the endpoint is missing from the configuration for
// so long that what waits for it is dead-lettered.
func (l *lane) orphaned(now time.Time) (is bool, at time.Time) {
	grace, server := l.all.opts.RemovalGrace, l.all.opts.ServerTime()
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
	quiet := min(now.Sub(l.began), now.Sub(time.Unix(0, l.arrived.Load())))
	return l.pending.Load() == 0 && l.in.Held() == 0 && quiet > QuietTime
}

// waits reports whether it is worth to pull the lane. The state of a lane that
// gave way because nothing came is old until it was swept; but to sweep many
// takes time, and it may hold something nevertheless.
func (l *lane) waits(now time.Time) bool {
	return l.count > 0 && !l.running && (l.swept || l.gaveWay.IsZero() || l.hinted.After(l.gaveWay) || now.Sub(l.gaveWay) > Turn)
}

// review moves the endpoint to its lane, or back to the fast lane, according to
// what waits in the lane.
func (l *lane) review(now time.Time) {
	e := l.all.d.Endpoint(l.name)
	if e == nil {
		return
	}
	if l.count > 0 && !l.active() {
		l.fellBehind(now) // nobody looks how much waits
	}
	calm := now.Sub(time.Unix(0, l.behind.Load())) > calmFor
	switch {
	case !calm && l.polls >= 3 && now.Sub(l.left) > stayAway && !e.Laned():
		l.all.d.Join(l.name, now)
	case calm && e.Laned() && e.Rejoin(now, calmFor):
		l.left = now
		l.all.opts.Log.Info("endpoint is back in the fast lane", zap.String("endpoint", l.name))
	}
}

// pull begins to take deliveries from the lane.
func (l *lane) pull(ctx context.Context, now time.Time) {
	if l.in == nil {
		l.in = l.intake()
	}
	l.began, l.running, l.swept, l.gaveWay = now, true, false, time.Time{}
	l.arrived.Store(now.Add(Turn).UnixNano()) // it is not open yet
	l.pending.Store(0)
	l.resize()
	pulling, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	l.all.ended.Go(func() {
		l.in.Run(pulling)
		l.giveBack(ctx)
	})
}

// halt stops taking deliveries from the lane. An attempt that has begun goes
// on.
func (l *lane) halt() {
	l.cancel()
	l.cancel = nil
}

// giveBack returns what waits in memory and was not attempted, after the
// pulling has ended. It is called without Lanes.mu.
func (l *lane) giveBack(ctx context.Context) {
	if e := l.all.d.Endpoint(l.name); e != nil {
		l.giveBackOf(ctx, e)
	}
	l.all.mu.Lock()
	l.running = false
	l.all.mu.Unlock()
	l.all.Look()
}

// giveBackOf truncates the lane first, and lets it be then: the server (2.15)
// forgets at a purge which messages were given back, and sends them no sooner
// than after their AckWait.
func (l *lane) giveBackOf(ctx context.Context, e Endpoint) {
	l.sweeping.Lock()
	defer l.sweeping.Unlock()
	waiting := e.TakeLane()
	if len(waiting) > 0 && !l.all.many() {
		l.all.sweepOne(ctx, l, true)
	}
	for _, m := range waiting {
		m.Nak()
	}
}

// resize sets how much of the lane is held in memory: as much as its endpoint
// is served with in a moment.
func (l *lane) resize() {
	window := MaxWindow
	if e := l.all.d.Endpoint(l.name); e != nil {
		window = e.LaneWindow(time.Now())
	}
	l.in.SetWindow(window)
}

func (l *lane) intake() *intake.Intake {
	o := &l.all.opts
	return intake.New(intake.Options{
		Conn:     o.Conn,
		Stream:   o.Names.LanesStream(),
		Consumer: o.Names.LaneConsumer(l.name),
		Prefix:   o.Prefix,
		Open:     l.open,
		Handle:   l.handle,
		State: func(err error) {
			if err != nil {
				l.all.opts.Sampled.Warn("a lane cannot be read; trying again", zap.String("endpoint", l.name), zap.Error(err))
			}
		},
		Window:      MinWindow,
		WindowBytes: 1,             // as little as a large event needs
		Remember:    8 * MaxWindow, // more than is settled between two truncations, mostly
		Beat:        o.Beat,
		AckWait:     wire.DeliverAckWait,
		ServerTime:  o.ServerTime,
	})
}

// open makes sure that the lane has a consumer. It is called without Lanes.mu.
func (l *lane) open(ctx context.Context) error {
	e := l.all.d.Endpoint(l.name)
	ordered := e != nil && e.OpensLane()
	err := l.all.opts.OpenLane(ctx, l.name, ordered)
	l.arrived.Store(time.Now().UnixNano())
	return err
}

// handle takes a message off the wire. It never blocks, and is called without
// Lanes.mu.
func (l *lane) handle(m *intake.Message) {
	now := time.Now()
	l.arrived.Store(now.UnixNano())
	l.pending.Store(m.Pending)
	if m.Pending > 0 {
		l.fellBehind(now)
	}
	if window := l.all.d.Receive(l.name, m, l.removed.Load()); window > 0 {
		l.in.SetWindow(window)
	}
}

func (l *lane) fellBehind(now time.Time) { l.behind.Store(now.UnixNano()) }
