package subscriber

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/intake"
)

// Limits of what is held in memory, a consumer.
const (
	deliverWindow = 4096
	dueWindow     = 2048
)

const (
	// reviewEvery is how often the fast lane is looked over.
	reviewEvery = 25 * time.Millisecond
	// maxWait is how long a delivery may wait in the fast lane for a slot of its
	// endpoint. Longer, and the endpoint gets a lane of its own.
	maxWait = 250 * time.Millisecond
	// longestWait is the same for when a lane would help nobody: because all
	// endpoints wait as long, because it is the machine that is slow, or because
	// there are no others.
	longestWait = 2 * time.Second
	// starvedFor is how long the machine counts as slow after it was.
	starvedFor = 500 * time.Millisecond
	// slowAttempt is how long an attempt takes that is slow of itself, not
	// because the machine has too much to do.
	slowAttempt = 100 * time.Millisecond
	// readAhead is how far the dispatcher reads ahead, in time at the present
	// rate; minAhead the same in deliveries, at least.
	readAhead = 100 * time.Millisecond
	minAhead  = 512
	// busyFor is how long an endpoint may take most of the fast lane while
	// others stand behind a backlog of busyBacklog, in time at the present rate.
	busyFor     = 500 * time.Millisecond
	busyBacklog = 2 * time.Second
)

// fastLane serves the healthy endpoints from the two shared consumers. It reads
// ahead no further than is attempted in a moment, and sends endpoints away that
// cannot keep up.
type fastLane struct {
	d            *Dispatcher
	deliver, due *intake.Intake

	moving  atomic.Int64 // deliveries on their way to a lane
	backlog atomic.Int64 // deliveries that the server had still to send
	began   atomic.Int64 // attempts that began, ever
	waited  atomic.Int64 // what they had waited for a slot, together, in ns

	mu   sync.Mutex
	busy []*endpoint // that have deliveries here; each once

	pulse       pulse
	starved     time.Time // when the process last waited for the machine
	greedy      *endpoint // that takes nearly all
	greedySince time.Time

	rate     float64 // attempts that begin in a second: moving average
	meanWait float64 // what one waits: moving average, in seconds
}

func newFastLane(d *Dispatcher) *fastLane {
	f := &fastLane{d: d}
	o := &d.opts
	f.deliver = f.intake(o.Names.DeliveriesStream(), o.Names.DeliverConsumer(), o.OpenDeliver, deliverWindow, func(m *intake.Message) {
		f.backlog.Store(int64(m.Pending))
		d.admit(m)
	})
	f.due = f.intake(o.Names.RetriesStream(), o.Names.DueConsumer(), o.OpenDue, dueWindow, d.admit)
	f.deliver.SetWindow(minAhead)
	return f
}

func (f *fastLane) intake(stream, consumer string, open func(context.Context) error, window int, handle func(*intake.Message)) *intake.Intake {
	return intake.New(intake.Options{
		Conn:     f.d.opts.Conn,
		Stream:   stream,
		Consumer: consumer,
		Open:     open,
		Handle:   handle,
		State:    func(err error) { f.d.state("consumer "+consumer, err) },
		Window:   window,
		Beat:     AckWait / 3,
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
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			took := now.Sub(last)
			last = now
			f.learn(took)
			if f.pulse.starved() || took > 2*reviewEvery {
				f.starved = now
			}
			f.review(now)
		}
	}
}

// learn brings the averages up to date after some time.
func (f *fastLane) learn(took time.Duration) {
	began, waited := f.began.Swap(0), f.waited.Swap(0)
	weight := min(took.Seconds()/0.5, 1)
	f.rate += weight * (float64(began)/took.Seconds() - f.rate)
	if began > 0 {
		f.meanWait += weight * (time.Duration(waited).Seconds()/float64(began) - f.meanWait)
	} else {
		f.meanWait -= weight * f.meanWait
	}
}

// list remembers an endpoint that has deliveries here. The caller holds the
// endpoint's mu.
func (f *fastLane) list(e *endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = append(f.busy, e)
}

// review sets how far is read ahead, and sends away the endpoints that cannot
// keep up.
func (f *fastLane) review(now time.Time) {
	f.mu.Lock()
	busy := f.busy
	f.busy = nil
	f.mu.Unlock()

	// Nobody is to blame, or nobody harmed.
	lenient := now.Sub(f.starved) < starvedFor || len(busy) == 1
	var waiting, most, served int
	var greedy *endpoint
	for _, e := range busy {
		n, slow := e.review(now, f.meanWait, lenient)
		switch {
		case slow != nil && e.isDraining():
			f.d.settling.Go(func() { f.d.drainLater(slow) })
		case slow != nil:
			f.d.logLaned(e)
			f.d.divert(slow)
		}
		served++
		waiting += n
		if n > most {
			greedy, most = e, n
		}
	}
	ahead := max(minAhead, int(f.rate*readAhead.Seconds()))
	f.deliver.SetWindow(min(deliverWindow, max(f.deliver.Held()-waiting, 0)+ahead))

	// Others stand behind a backlog that is nearly all for one endpoint.
	takesAll := greedy != nil && served > 1 && waiting >= ahead*3/4 && most >= waiting*3/4 &&
		float64(f.backlog.Load()) > f.rate*busyBacklog.Seconds()
	if !takesAll || greedy != f.greedy {
		f.greedy, f.greedySince = greedy, now
		return
	}
	if now.Sub(f.greedySince) > busyFor {
		f.greedy = nil
		f.d.divert(greedy.giveWay(now))
		f.d.logLaned(greedy)
	}
}

// review counts the endpoint's deliveries that wait in the fast lane. If one
// has waited too long it returns them all, to be moved to the endpoint's lane.
// meanWait is what deliveries wait on average, in seconds; lenient says that it
// may wait for longer.
func (e *endpoint) review(now time.Time, meanWait float64, lenient bool) (waiting int, slow []*delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	draining := e.target.Ordered && e.draining
	if e.shared == 0 && e.inFlight == 0 || e.laned.Load() && !draining {
		e.listed = false
		return 0, nil
	}
	e.fast.list(e)
	var wait time.Duration
	for _, d := range e.queue {
		if !d.lane {
			wait = now.Sub(d.since)
			break
		}
	}
	byItself := !lenient && (wait.Seconds() > 3*meanWait || e.latency > slowAttempt.Seconds())
	if wait <= maxWait || wait <= longestWait && !byItself {
		return e.shared, nil
	}
	if draining {
		return 0, e.takeShared()
	}
	return 0, e.toLane(now, "its deliveries waited longer than "+maxWait.String()+" for a slot")
}

// giveWay sends the endpoint to its lane because others would wait behind what
// waits for it.
func (e *endpoint) giveWay(now time.Time) []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.toLane(now, "most of the backlog is for it, and others would wait behind it")
}

// logLaned says that an endpoint got its own lane because it cannot keep up.
func (d *Dispatcher) logLaned(e *endpoint) {
	e.mu.Lock()
	why := e.lanedWhy
	e.mu.Unlock()
	d.log.Info("endpoint is served from its own lane", zap.String("endpoint", e.name), zap.String("reason", why))
}
