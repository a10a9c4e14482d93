package subscriber

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"fanjet/internal/failpoint"
	"fanjet/internal/jsapi"
	"fanjet/internal/sampled"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/lanes"
	"fanjet/subscriber/outcome"
)

// beat is how often deliveries that are held are reported in progress. NATS may be
// without a leader for the rest of [wire.DeliverAckWait], and hear of none: a cluster that lost a
// server needs up to nine seconds to elect another, and mostly less than seven.
const beat = wire.DeliverAckWait / 5

// Dispatcher delivers to endpoints. Its methods may be called concurrently.
type Dispatcher struct {
	opts    Options
	log     *zap.Logger
	sampled *zap.Logger // for what may happen with every delivery
	metrics *metrics
	random  func() float64 // uniform in [0, 1); may be called concurrently

	applying  sync.Mutex
	egress    egress.Policy
	guard     *egress.Guard // that applies egress
	endpoints atomic.Pointer[map[string]*member]
	slots     *slots
	conns     *httpsend.IdleLimit
	awake     attempt.Awake
	paused    map[string]endpoint.Pause // guarded by applying
	pauses    *state.PauseWatch
	removals  *state.Removals
	departed  departed

	letterLines letterLines

	fast   *fastLane
	direct direct
	lanes  *lanes.Lanes

	work     context.Context // ends when what is in flight must end
	stopping bool            // nothing is applied any more; guarded by applying
	begun    sync.WaitGroup  // deliveries that a worker has, or is about to get
	idle     chan *delivery  // an idle worker takes from it
	done     chan struct{}   // closed when no delivery will come any more
	workers  sync.WaitGroup
	settling sync.WaitGroup // what waits for a word from NATS
}

// New returns a dispatcher that delivers once [Dispatcher.Run] is called. The
// error names an endpoint whose secrets cannot be used.
func New(o Options) (*Dispatcher, error) {
	if o.RemovalGrace == 0 {
		o.RemovalGrace = state.RemovalGrace
	}
	if o.LaneRest == 0 {
		o.LaneRest = 2 * time.Minute
	}
	d := &Dispatcher{
		opts:    o,
		log:     o.Log.Named("deliver"),
		metrics: newMetrics(o.Registerer),
		random:  rand.Float64,
		egress:  o.Egress,
		slots:   newSlots(maxAttempts),
		conns:   httpsend.NewIdleLimit(),
		paused:  make(map[string]endpoint.Pause),
		idle:    make(chan *delivery),
		done:    make(chan struct{}),
	}
	d.sampled = sampled.Logger(d.log)
	d.endpoints.Store(&map[string]*member{})
	d.pauses = state.NewPauseWatch(o.State, d.onPause, d.log)
	d.pauses.OnFault = func(err error) { d.state("pauses", err) }
	d.removals = state.NewRemovals(o.State, o.ServerTime, func(name string) bool { return d.endpoint(name) != nil }, d.log)
	d.direct.limit = rate.NewLimiter(leasesPerSecond, leasesPerSecond)
	d.direct.running = make(map[string]*Direct)
	d.direct.store = &retriesLeases{js: o.JetStream, stream: o.Names.RetriesStream()}
	d.direct.room.limit.Store(2 * leastRoom)
	countDirect(o.Registerer, &d.direct.success)
	d.fast = newFastLane(d)
	d.lanes = lanes.New(lanes.Options{
		Conn: o.Conn, JetStream: o.JetStream, Names: o.Names, Prefix: d.apiPrefix(),
		Consumers: o.Consumers, ServerTime: o.ServerTime,
		Beat: beat, RemovalGrace: o.RemovalGrace, LaneRest: o.LaneRest,
		Log: d.log, Sampled: d.sampled, Registerer: o.Registerer,
	}, laneSide{d})
	return d, d.Apply(o.Endpoints, o.Egress)
}

// LaneHolds tells that a delivery was published straight to an endpoint's lane.
func (d *Dispatcher) LaneHolds(endpoint string) { d.lanes.Holds(endpoint) }

// apiPrefix is what subjects of JetStream's API begin with.
func (d *Dispatcher) apiPrefix() string {
	if d.opts.JetStream == nil {
		return ""
	}
	return jsapi.Of(d.opts.JetStream).Prefix()
}

func (d *Dispatcher) state(part string, err error) {
	if d.opts.OnState != nil {
		d.opts.OnState(part, err)
	}
}

// Run delivers until ctx ends. Then it takes no more, lets the attempts in
// flight end for at most grace, gives back what has not been attempted, and
// returns when the acknowledgements have reached the server.
func (d *Dispatcher) Run(ctx context.Context, grace time.Duration) error {
	// Work goes on for the grace time after ctx ended, the beats until the end.
	work, interrupt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer interrupt(nil)
	d.work = work
	beats, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer stopBeats()

	if !d.loadPauses(ctx) {
		return nil // called off
	}
	background.Go(func() { d.awake.Run(beats, d.log) })
	background.Go(func() { d.pauses.Run(ctx) })
	background.Go(func() { d.fast.beat(beats) })
	background.Go(func() { d.lanes.Beat(beats) })
	background.Go(func() { d.removals.Run(ctx) })
	background.Go(func() { d.forgetDeparted(ctx) })

	d.direct.on.Store(d.opts.Direct)
	var receiving sync.WaitGroup
	receiving.Go(func() { d.fast.run(ctx) })
	receiving.Go(func() { d.lanes.Run(ctx) })
	receiving.Wait()

	d.stopEndpoints()
	timer := time.AfterFunc(grace, func() { interrupt(outcome.ErrInterrupted) })
	defer timer.Stop()
	d.begun.Wait() // no more can begin
	close(d.done)
	d.workers.Wait()
	for _, ep := range *d.endpoints.Load() {
		ep.settings().CloseIdle()
	}
	d.settled(work)

	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	await(flush, &d.direct.ending) // what was interrupted begins at once elsewhere
	if err := d.flush(flush); err != nil {
		return fmt.Errorf("some deliveries may come a second time: %w", err)
	}
	return nil
}

// Held returns how many deliveries are in memory: waiting or being attempted.
func (d *Dispatcher) Held() int {
	held := 0
	for _, in := range append(d.fast.intakes(), d.lanes.Intakes()...) {
		held += in.Held()
	}
	return held
}

// admit takes a message of a shared consumer off the wire. It never blocks.
func (d *Dispatcher) admit(m message) {
	failpoint.Hit(failpoint.DeliveryFetched)
	if d.keepFired(m) {
		return
	}
	dl := &delivery{msg: m, ep: d.endpoint(wire.EndpointOf(m.Msg.Subject))}
	switch {
	case hasVerdict(dl):
		d.beginUnasked(dl)
		return
	case dl.ep == nil:
		d.divert([]*delivery{dl})
		return
	}
	reception, others := dl.ep.offer(dl, time.Now())
	switch reception {
	case accepted:
		d.pump(dl.ep)
	case diverted:
		d.divert(append(others, dl))
	case returned:
		m.Nak()
	}
}
