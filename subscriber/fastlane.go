package subscriber

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fanjet/internal/intake"
	"fanjet/internal/wire"

	"go.uber.org/zap"
)

// Limits of what is held in memory, a consumer.
const (
	deliverWindow = 4096
	dueWindow     = 2048
)

const (
	// reviewEvery is how often the fast lane is looked over.
	reviewEvery = 25 * time.Millisecond
	// readAhead is how far the dispatcher reads ahead, in time at the present
	// rate; mostAhead the same in deliveries, at least, and slowAhead when they
	// wait for longer than slowWait on average.
	readAhead = 100 * time.Millisecond
	mostAhead = 512
	slowAhead = 64
	slowWait  = 50 * time.Millisecond
	// busyFor is how long an endpoint may take most of the fast lane while
	// others stand behind a backlog of busyBacklog, in time at the present rate.
	busyFor     = 500 * time.Millisecond
	busyBacklog = 2 * time.Second
	// nearlyAll is most of it, in percent.
	nearlyAll = 75
	// averaged is over what time the averages are taken.
	averaged = 500 * time.Millisecond
)

// fastLane serves the healthy endpoints from the two shared consumers. It reads
// ahead no further than is attempted in a moment, and sends endpoints away that
// cannot keep up.
type fastLane struct {
	d            *Dispatcher
	deliver, due *intake.Intake

	backlog atomic.Int64 // deliveries that the server had still to send
	began   atomic.Int64 // attempts that began, ever
	waited  atomic.Int64 // what they had waited for a slot, together, in ns

	mu   sync.Mutex
	busy []*member // that have deliveries here; each once

	seen        []standing // by the review; kept for its memory
	pulse       pulse
	starved     time.Time // when the process last waited for the machine
	greedy      *member   // that takes nearly all
	greedySince time.Time
	crowded     time.Time // when endpoints were last here together

	rate     float64 // attempts that begin in a second: moving average
	meanWait float64 // what one waits: moving average, in seconds
}

func newFastLane(d *Dispatcher) *fastLane {
	f := &fastLane{d: d}
	o := &d.opts
	f.deliver = f.intake(o.Names.DeliveriesStream(), o.Names.DeliverConsumer(), o.OpenDeliver, deliverWindow, func(m *intake.Message) {
		f.backlog.Store(int64(m.Pending))
		d.admit(received(m))
	})
	f.due = f.intake(o.Names.RetriesStream(), o.Names.DueConsumer(), o.OpenDue, dueWindow, func(m *intake.Message) {
		if o.Direct {
			d.direct.due.add(m.Msg.Header.Get(wire.HeaderKey))
		}
		d.admit(received(m))
	})
	f.deliver.SetWindow(mostAhead)
	return f
}

func (f *fastLane) intake(stream, consumer string, open func(context.Context) error, window int, handle func(*intake.Message)) *intake.Intake {
	return intake.New(intake.Options{
		Conn:     f.d.opts.Conn,
		Stream:   stream,
		Consumer: consumer,
		Prefix:   f.d.apiPrefix(),
		Open:     open,
		Handle:   handle,
		State:    func(err error) { f.d.state("consumer "+consumer, err) },
		Window:   window,
		Beat:     beat,
		AckWait:  wire.DeliverAckWait,

		ServerTime: f.d.opts.ServerTime,
	})
}

func (f *fastLane) intakes() []*intake.Intake { return []*intake.Intake{f.deliver, f.due} }

// run receives until ctx ends.
func (f *fastLane) run(ctx context.Context) {
	var parts sync.WaitGroup
	for _, in := range f.intakes() {
		parts.Go(func() { in.Run(ctx) })
	}
	parts.Go(func() { f.look(ctx) })
	parts.Wait()
}

func (f *fastLane) beat(ctx context.Context) {
	var parts sync.WaitGroup
	for _, in := range f.intakes() {
		parts.Go(func() { in.Beat(ctx) })
	}
	parts.Wait()
}

// starts notes that an attempt of a shared delivery begins.
func (f *fastLane) starts(d *delivery, now time.Time) {
	f.began.Add(1)
	f.waited.Add(int64(now.Sub(d.since)))
}

// look reviews the fast lane again and again until ctx ends.
func (f *fastLane) look(ctx context.Context) {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	last := time.Now()
	lost := f.d.awake.Lost(last)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now() // the tick waits for who stood still
			took := now.Sub(last)
			last = now
			if stood := f.d.awake.Lost(now); stood != lost {
				f.forgive(stood.Since(lost).Stood, now)
				took = max(took-stood.Since(lost).Stood, reviewEvery)
				lost = stood
			}
			f.learn(took)
			if f.pulse.starved() || took > 2*reviewEvery {
				f.starved = now
			}
			f.review(now)
		}
	}
}

// forgive takes the time that the process stood still from what its deliveries
// have waited: no endpoint is to blame for it.
func (f *fastLane) forgive(stood time.Duration, now time.Time) {
	f.mu.Lock()
	busy := slices.Clone(f.busy)
	f.mu.Unlock()
	for _, e := range busy {
		e.forgive(stood, now)
	}
	f.greedySince = now
	f.starved = now
}

// forgive shortens what the endpoint's deliveries have waited.
func (e *member) forgive(stood time.Duration, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range e.queue {
		if d.since = d.since.Add(stood); d.since.After(now) {
			d.since = now
		}
	}
}

// learn brings the averages up to date after some time.
func (f *fastLane) learn(took time.Duration) {
	began, waited := f.began.Swap(0), f.waited.Swap(0)
	weight := min(took.Seconds()/averaged.Seconds(), 1)
	f.rate += weight * (float64(began)/took.Seconds() - f.rate)
	if began > 0 {
		f.meanWait += weight * (time.Duration(waited).Seconds()/float64(began) - f.meanWait)
	} else {
		f.meanWait -= weight * f.meanWait
	}
}

// list remembers an endpoint that has deliveries here. The caller holds the
// endpoint's mu.
func (f *fastLane) list(e *member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = append(f.busy, e)
}

// review sets how far is read ahead, and sends away the endpoints that cannot
// keep up.
//
// Promise 3: who cannot be served with the others leaves them.
func (f *fastLane) review(now time.Time) {
	j := f.judge(now)
	for _, e := range j.slow {
		slow := e.leave(now)
		if e.isDraining() {
			f.d.settling.Go(func() { f.d.drainLater(slow) })
			continue
		}
		f.d.logLaned(e)
		f.d.divert(slow)
	}
	f.deliver.SetWindow(j.window(f.deliver.Held()))
	f.d.reviewDirect(now)
	if j.greedy != nil {
		f.d.divert(j.greedy.giveWay(now))
		f.d.logLaned(j.greedy)
	}
}

// judgement is what a look at the fast lane found.
type judgement struct {
	slow    []*member // cannot keep up
	greedy  *member   // others would wait behind what waits for it; nil: none
	waiting int       // deliveries of the other endpoints that wait for a slot
	ahead   int       // how many are read ahead
}

// window is how many deliveries may be held when so many are.
func (j *judgement) window(held int) int {
	return min(deliverWindow, max(held-j.waiting, 0)+j.ahead)
}

// judge finds who has to leave the fast lane.
func (f *fastLane) judge(now time.Time) judgement {
	f.mu.Lock()
	busy := f.busy
	f.busy = nil
	f.mu.Unlock()

	var j judgement
	all := f.seen[:0]
	var most int
	var greedy *member
	for _, e := range busy {
		s, here := e.stands(now)
		if !here {
			continue
		}
		all = append(all, s)
		j.waiting += s.waiting
		if s.waiting > most {
			greedy, most = e, s.waiting
		}
	}
	f.seen = all
	if len(all) > 1 {
		f.crowded = now
	}
	p := f.newPatience(now, all)
	for i := range all {
		if !p.exhausted(&all[i]) {
			continue
		}
		e := all[i].endpoint
		j.waiting -= all[i].waiting
		if e == greedy {
			greedy, most = nil, 0
		}
		j.slow = append(j.slow, e)
	}
	clear(f.seen)
	j.ahead = max(f.minAhead(), int(f.rate*readAhead.Seconds()))

	// Others stand behind a backlog that is nearly all for one endpoint. They are not
	// here at every look: what comes for them is soon done.
	takesAll := greedy != nil && now.Sub(f.crowded) < busyFor && j.waiting >= j.ahead*nearlyAll/100 && most >= j.waiting*nearlyAll/100 &&
		float64(f.backlog.Load()) > f.rate*busyBacklog.Seconds()
	if !takesAll || greedy != f.greedy {
		f.greedy, f.greedySince = greedy, now
		return j
	}
	if now.Sub(f.greedySince) > busyFor {
		f.greedy, j.greedy = nil, greedy
	}
	return j
}

// minAhead is how far is read ahead at least. A delivery that is read should be
// attempted in a moment, also by a slow machine.
func (f *fastLane) minAhead() int {
	if f.meanWait > slowWait.Seconds() {
		return slowAhead
	}
	return mostAhead
}

// stands tells how the endpoint stands in the fast lane; here is false if it
// has nothing there.
func (e *member) stands(now time.Time) (s standing, here bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	draining := e.target.Ordered && e.draining
	if e.shared == 0 && e.inFlight == 0 || e.laned.Load() && !draining {
		e.listed = false
		return s, false
	}
	e.fast.list(e)
	s = standing{endpoint: e, waiting: e.shared, latency: e.latency, success: e.success}
	for _, d := range e.queue {
		if !d.lane {
			s.wait = now.Sub(d.since)
			break
		}
	}
	return s, true
}

// leave sends the endpoint to its lane because it cannot keep up, and returns
// its deliveries that wait.
func (e *member) leave(now time.Time) []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.target.Ordered && e.draining {
		return e.takeShared()
	}
	return e.toLane(now, "its deliveries waited longer than "+maxWait.String()+" for a slot")
}

// giveWay sends the endpoint to its lane because others would wait behind what
// waits for it.
func (e *member) giveWay(now time.Time) []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.toLane(now, "most of the backlog is for it, and others would wait behind it")
}

// logLaned says that an endpoint got its own lane because it cannot keep up.
func (d *Dispatcher) logLaned(e *member) {
	e.mu.Lock()
	why := e.lanedWhy
	e.mu.Unlock()
	d.log.Info("endpoint is served from its own lane", zap.String("endpoint", e.name), zap.String("reason", why))
}
