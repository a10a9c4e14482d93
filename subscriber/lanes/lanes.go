package lanes

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/intake"
	"fanjet/internal/jsapi"
	"fanjet/internal/state"
	"fanjet/internal/wire"
)

const (
	// pollEvery is how often the stream is asked which lanes hold something.
	pollEvery = time.Second
	// maxActive bounds how many lanes are pulled at once: JetStream's throughput
	// falls with the number of active consumers.
	maxActive = 128
	// Turn is how long a lane is pulled, at least, while others wait for theirs.
	Turn = 2 * time.Second
	// QuietTime is how long nothing comes from a lane that has nothing to give: it
	// makes room for those that wait.
	QuietTime = 150 * time.Millisecond
	// restAfter is how long a lane that holds nothing is pulled nevertheless.
	restAfter = 10 * time.Second
	// calmFor is how long an endpoint must keep up before it returns to the fast
	// lane, and how long it stays there whatever its lane holds.
	calmFor  = 3 * time.Second
	stayAway = 10 * time.Second
)

// Lanes keeps the lanes: which endpoints have deliveries waiting in theirs, and
// which of those are pulled now.
//
// The truth is the stream. It is asked every second; a lane that holds
// something is pulled, or waits for its turn or its endpoint.
type Lanes struct {
	opts    Options
	d       Dispatcher
	metrics *metrics

	looking chan struct{} // has room for one: something may have changed

	mu     sync.Mutex
	stream jetstream.Stream // a handle, once it is known; it goes by the name
	byName map[string]*lane
	ended  sync.WaitGroup // lanes that are being pulled
}

// New returns the lanes of the endpoints of a dispatcher, which are kept while
// [Lanes.Run] runs.
func New(o Options, d Dispatcher) *Lanes {
	return &Lanes{
		opts: o, d: d, metrics: newMetrics(o.Registerer),
		looking: make(chan struct{}, 1), byName: make(map[string]*lane),
	}
}

// Look has the lanes looked over soon.
func (l *Lanes) Look() {
	select {
	case l.looking <- struct{}{}:
	default:
	}
}

// Holds notes that a delivery was stored in a lane.
func (l *Lanes) Holds(endpoint string) {
	now := time.Now()
	l.mu.Lock()
	lane := l.of(endpoint)
	first := lane.count == 0
	lane.count = max(lane.count, 1)
	lane.hinted, lane.empty = now, time.Time{}
	l.mu.Unlock()
	if first {
		l.Look()
	}
}

// of returns the lane of an endpoint. The caller holds mu.
func (l *Lanes) of(endpoint string) *lane {
	lane := l.byName[endpoint]
	if lane == nil {
		lane = newLane(l, endpoint)
		l.byName[endpoint] = lane
	}
	return lane
}

// Run keeps the lanes until ctx ends, and waits for those that are pulled.
func (l *Lanes) Run(ctx context.Context) {
	var sweeping sync.WaitGroup
	sweeping.Go(func() { l.sweep(ctx) })
	defer sweeping.Wait()
	defer l.ended.Wait()

	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	poll := true
	for {
		if poll {
			l.poll(ctx)
			poll = false
		}
		began := time.Now()
		if wait := l.review(ctx, began); wait > 0 {
			next.Reset(wait)
		}
		// Of very many lanes a review takes a while: it must not take a processor
		// for itself.
		rest := time.NewTimer(4 * time.Since(began))
		select {
		case <-ctx.Done():
		case <-rest.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			poll = true
		case <-l.looking:
		case <-next.C:
		}
	}
}

// poll asks the stream what the lanes hold.
func (l *Lanes) poll(ctx context.Context) {
	asked := time.Now()
	counts, err := l.counts(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.opts.Sampled.Warn("cannot look which lanes hold deliveries", zap.Error(err))
		}
		return
	}
	l.note(counts, l.missing(ctx, counts), asked)
	l.d.Polled(ctx)
}

// note takes over what the stream said to a question of that time.
func (l *Lanes) note(counts map[string]uint64, missing map[string]state.Absence, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range counts {
		l.of(name).missing = missing[name]
	}
	var holding, pending float64
	for name, lane := range l.byName {
		n := counts[name]
		lane.polled(n, asked)
		if n > 0 {
			holding++
			pending += float64(n)
		}
		if lane.forgettable(asked) {
			delete(l.byName, name)
		}
	}
	for name, e := range l.d.Endpoints() {
		// Nothing was ever in its lane, so that no review sees it.
		if e.Laned() && l.byName[name] == nil && e.Rejoin(asked, calmFor) {
			l.opts.Log.Info("endpoint is back in the fast lane", zap.String("endpoint", name))
		}
	}
	l.metrics.holding.Set(holding)
	l.metrics.pending.Set(pending)
}

// missing returns since when the endpoints of some lanes are not in the
// configuration.
func (l *Lanes) missing(ctx context.Context, counts map[string]uint64) map[string]state.Absence {
	out := make(map[string]state.Absence)
	for name := range counts {
		if l.d.Endpoint(name) != nil {
			continue
		}
		l.mu.Lock()
		a := l.of(name).missing
		l.mu.Unlock()
		if now := l.opts.ServerTime(); a.Stale(now, l.opts.RemovalGrace) {
			since, err := l.d.MissingSince(ctx, name)
			if err != nil {
				l.opts.Sampled.Error("it is not known since when an endpoint is missing; its deliveries wait", zap.String("endpoint", name), zap.Error(err))
				continue
			}
			a = state.Absence{Since: since, Read: now}
		}
		out[name] = a
	}
	return out
}

// counts returns how many messages each lane has in the stream.
func (l *Lanes) counts(ctx context.Context) (map[string]uint64, error) {
	subject := l.opts.Names.LaneSubject(">")
	info, err := l.info(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(info.State.Subjects))
	for subject, n := range info.State.Subjects {
		out[wire.EndpointOf(subject)] = n
	}
	return out, nil
}

// info asks the stream of the lanes for its state, with the number of messages
// of each subject that a filter selects.
func (l *Lanes) info(ctx context.Context, subject string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// All lanes wait for this: not for an answer that will never come.
	ctx, answered := jsapi.WhileConnected(ctx, l.opts.Conn)
	defer answered()
	s, err := l.handle(ctx)
	if err != nil {
		return nil, err
	}
	return s.Info(ctx, jetstream.WithSubjectFilter(subject))
}

// handle returns the stream of the lanes; what it knows of its state is old.
func (l *Lanes) handle(ctx context.Context) (jetstream.Stream, error) {
	l.mu.Lock()
	s := l.stream
	l.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := l.opts.JetStream.Stream(ctx, l.opts.Names.LanesStream())
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.stream = s
	l.mu.Unlock()
	return s, nil
}

// Reopen has a lane pulled anew, after its consumer has to change.
func (l *Lanes) Reopen(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lane := l.byName[endpoint]; lane != nil && lane.active() {
		lane.halt()
	}
}

// review decides which lanes are pulled now. It returns when to look again, if
// something can change by itself before the next poll.
func (l *Lanes) review(ctx context.Context, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var next time.Time
	var active, ready []*lane
	for _, lane := range l.byName {
		is, at := lane.ready(now)
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		lane.review(now)
		switch {
		case lane.active() && !is:
			lane.halt()
		case lane.active():
			lane.resize()
			active = append(active, lane)
		case is && lane.waits(now):
			ready = append(ready, lane)
		}
	}
	byTurn := func(a, b *lane) int { return a.began.Compare(b.began) }
	slices.SortFunc(active, byTurn)
	slices.SortFunc(ready, func(a, b *lane) int {
		if a.gaveWay.IsZero() != b.gaveWay.IsZero() {
			return a.gaveWay.Compare(b.gaveWay) // zero first: what is known to wait
		}
		return byTurn(a, b)
	})
	for len(ready) > 0 && ctx.Err() == nil {
		if len(active) >= maxActive {
			i := makesRoom(active, now)
			if i < 0 {
				if again := now.Add(QuietTime / 2); next.IsZero() || again.Before(next) {
					next = again
				}
				break
			}
			active[i].halt()
			active = slices.Delete(active, i, i+1)
		}
		ready[0].pull(ctx, now)
		active = append(active, ready[0])
		ready = ready[1:]
	}
	l.metrics.active.Set(float64(len(active)))
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), 10*time.Millisecond)
}

// makesRoom returns which of the lanes, the one that was pulled the longest in
// front, makes room for another one: one from which nothing comes, or else that
// one if its turn is over; negative: none.
func makesRoom(active []*lane, now time.Time) int {
	for i, lane := range active {
		if lane.spent(now) {
			lane.gaveWay = now
			return i
		}
	}
	if now.Sub(active[0].began) >= Turn {
		return 0
	}
	return -1
}

// all returns the lanes.
func (l *Lanes) all() []*lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.byName))
}

// Intakes returns those of the lanes that were ever pulled.
func (l *Lanes) Intakes() []*intake.Intake { return l.intakesOf(func(*lane) bool { return true }) }

// Unsettled returns the intakes of the lanes whose acknowledgements matter: of
// one that is empty nothing can come again, and its consumer may be gone.
func (l *Lanes) Unsettled() []*intake.Intake {
	return l.intakesOf(func(lane *lane) bool { return lane.count > 0 })
}

func (l *Lanes) intakesOf(which func(*lane) bool) []*intake.Intake {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*intake.Intake
	for _, lane := range l.byName {
		if lane.in != nil && which(lane) {
			out = append(out, lane.in)
		}
	}
	return out
}

// Beat reports what the lanes hold in memory as being in progress, until ctx
// ends.
func (l *Lanes) Beat(ctx context.Context) {
	tick := time.NewTicker(l.opts.Beat / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, in := range l.Intakes() {
				in.BeatOnce(now)
			}
		}
	}
}
