// Package subscriber delivers to endpoints: it takes deliveries from JetStream,
// makes attempts, and settles each delivery as delivered, scheduled again, or
// dead-lettered.
//
// Guarantees:
//   - A delivery is acknowledged only after a 2xx response, or after JetStream
//     acknowledged what it became: the schedule of its next attempt, or a dead
//     letter.
//   - It is in at most one attempt at a time, and only failures that are the
//     endpoint's count as attempts.
//   - An endpoint has no more attempts in flight than its max_in_flight.
//   - An endpoint that is down, slow, limited, paused or ordered is served from
//     a lane of its own, so that it holds up no other.
package subscriber

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/jsapi"
	"fanjet/internal/publish"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/gate"
	"fanjet/subscriber/lanes"
	"fanjet/subscriber/outcome"
)

// Options configure a [Dispatcher]. All fields are required unless they say
// otherwise.
type Options struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Names     wire.Names
	State     jetstream.KeyValue // the state bucket
	Endpoints []endpoint.Settings
	Egress    egress.Policy
	Guard     egress.GuardOptions // what attempts may not reach under any policy; optional
	Version   string              // for the User-Agent

	// OpenDeliver and OpenDue make sure that the two consumers exist that
	// deliveries come from.
	OpenDeliver, OpenDue func(context.Context) error
	// OpenLane makes sure that the consumer of an endpoint's lane exists.
	OpenLane func(ctx context.Context, endpoint string, ordered bool) error
	// LookLane returns what that consumer is like; an error when there is none,
	// or when its ack floor cannot be trusted.
	LookLane func(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error)
	// CheckLane returns an error when the ack floor of such a consumer cannot be
	// trusted.
	CheckLane func(info *jetstream.ConsumerInfo, endpoint string) error
	// Retries publishes to the retries stream, Lanes to that of the lanes. Lanes
	// must fail when the stream is full, and its queue must hold whatever the two
	// windows hold.
	Retries, Lanes *publish.Publisher
	Letters        *dlq.Writer
	// ServerTime returns the time by the NATS server's clock.
	ServerTime func() time.Time
	// OnState hears about parts that cannot work for the moment, and with nil
	// that they can again; see [intake.Options.State]; optional.
	OnState func(part string, err error)
	// OnPause hears of an endpoint that this process paused without an operator,
	// once that is stored; optional.
	OnPause func(ctx context.Context, endpoint string, p endpoint.Pause)

	RemovalGrace time.Duration // how long an unknown endpoint's deliveries wait; default 10 min
	LaneRest     time.Duration // how long the consumer of an empty lane stays; default 2 min
	Log          *zap.Logger
	Registerer   prometheus.Registerer
}

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
	conns     *attempt.IdleLimit
	awake     attempt.Awake
	paused    map[string]endpoint.Pause // guarded by applying
	pauses    *state.PauseWatch
	removals  *state.Removals
	departed  departed

	letterLines letterLines

	fast  *fastLane
	lanes *lanes.Lanes

	work     context.Context // ends when what is in flight must end
	stopping bool            // nothing is applied any more; guarded by applying
	begun    sync.WaitGroup  // deliveries that a worker has, or is about to get
	idle     chan *delivery  // an idle worker takes from it
	done     chan struct{}   // closed when no delivery will come any more
	workers  sync.WaitGroup
	settling sync.WaitGroup // what waits for a word from NATS
}

// delivery is one delivery at work.
type delivery struct {
	msg     *intake.Message
	ep      *member // nil: not in the configuration
	lane    bool    // it came from its endpoint's lane
	fresh   bool    // of a lane: it was not attempted yet
	old     bool    // of a lane: it is older than its endpoint's max_age
	expired bool    // it waited too long behind an open circuit

	since      time.Time   // when it began to wait for a slot
	notBefore  time.Time   // of an ordered endpoint: when its next attempt may begin
	heldFor    time.Time   // the time, by the server's clock, that notBefore stands for; zero: none
	planned    time.Time   // when head was stored, by the server's clock; zero: it was made here
	head       *state.Head // of an ordered endpoint: what is known about it; nil: not looked up
	permit     gate.Permit
	permitUsed bool
	started    bool // it holds a slot
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
		conns:   attempt.NewIdleLimit(),
		paused:  make(map[string]endpoint.Pause),
		idle:    make(chan *delivery),
		done:    make(chan struct{}),
	}
	d.sampled = d.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 5, 0)
	}))
	d.endpoints.Store(&map[string]*member{})
	d.pauses = state.NewPauseWatch(o.State, d.onPause, d.log)
	d.pauses.OnFault = func(err error) { d.state("pauses", err) }
	d.removals = state.NewRemovals(o.State, o.ServerTime, func(name string) bool { return d.endpoint(name) != nil }, d.log)
	d.fast = newFastLane(d)
	d.lanes = lanes.New(lanes.Options{
		Conn: o.Conn, JetStream: o.JetStream, Names: o.Names, Prefix: d.apiPrefix(),
		OpenLane: o.OpenLane, LookLane: o.LookLane, CheckLane: o.CheckLane, ServerTime: o.ServerTime,
		Beat: beat, RemovalGrace: o.RemovalGrace, LaneRest: o.LaneRest,
		Log: d.log, Sampled: d.sampled, Registerer: o.Registerer,
	}, laneSide{d})
	return d, d.apply(o.Endpoints, o.Egress)
}

// Apply takes over another set of endpoints and another egress policy while
// the dispatcher runs. What is in flight goes on, but when Apply returns no request
// is sent any more over a connection that was made under another policy; circuits, pauses and lanes of
// endpoints that stay are kept. Deliveries to an endpoint that is gone wait in
// its lane for the grace time, and are dead-lettered then. An error changes
// nothing; it is [ErrStopping] once [Dispatcher.Run] is about to end.
func (d *Dispatcher) Apply(endpoints []endpoint.Settings, policy egress.Policy) error {
	return d.apply(endpoints, policy)
}

func (d *Dispatcher) apply(endpoints []endpoint.Settings, policy egress.Policy) error {
	d.applying.Lock()
	defer d.applying.Unlock()
	if d.stopping {
		return ErrStopping // what it would start, nobody would stop
	}
	before := *d.endpoints.Load()
	sameEgress, guard := reflect.DeepEqual(policy, d.egress), d.guard
	if !sameEgress || guard == nil {
		guard = egress.New(policy, d.opts.Guard)
	}
	targets := make(map[string]*attempt.Target)
	for _, settings := range endpoints {
		if old := before[settings.Name]; old != nil && sameEgress && reflect.DeepEqual(old.settings().Settings, settings) {
			continue
		}
		own := guard
		if settings.Policy != nil {
			own = egress.New(*settings.Policy, d.opts.Guard)
		}
		t, err := attempt.NewTarget(settings, own, d.opts.Version, d.conns)
		if err != nil {
			return err
		}
		t.Awake = &d.awake
		targets[settings.Name] = t
	}

	now := time.Now()
	after := make(map[string]*member, len(endpoints))
	var changed []*member
	for _, settings := range endpoints {
		name := settings.Name
		e, t := before[name], targets[name]
		switch {
		case e == nil:
			e = d.newEndpoint(t)
		case t != nil:
			changed = append(changed, e)
		}
		after[name] = e
	}
	d.egress, d.guard = policy, guard
	d.replace(before, after)
	for _, e := range changed {
		old, others := e.configure(targets[e.name], now)
		if sameEgress {
			old.CloseIdle()
		} else {
			old.Retire()
		}
		if old.Ordered != targets[e.name].Ordered {
			d.lanes.Reopen(e.name)
		}
		d.divert(others)
		d.pump(e)
	}
	for name, e := range before {
		if after[name] == nil {
			d.divertRemoved(e)
		}
	}
	d.removals.Look()
	d.lanes.Look()
	return nil
}

func (d *Dispatcher) newEndpoint(t *attempt.Target) *member {
	e := &member{
		name: t.Name, metrics: endpointMetrics{all: d.metrics, endpoint: t.Name}, slots: d.slots, begun: &d.begun, fast: d.fast, target: t,
		gate: gate.New(&t.Settings),
	}
	e.wake = func() {
		d.pump(e)
		if e.grew.Swap(false) {
			d.lanes.Look()
		}
	}
	if p, paused := d.paused[t.Name]; paused {
		e.gate.SetPause(&p, time.Now())
	}
	if t.Ordered || e.gate.Barred(time.Now()) {
		e.laned.Store(true)
		e.lanedSince = time.Now()
	}
	return e
}

// endpoint returns an endpoint of the configuration; nil if it is not there.
func (d *Dispatcher) endpoint(name string) *member { return (*d.endpoints.Load())[name] }

// Laned reports whether new deliveries of an endpoint belong into its own lane,
// and whether they must stay in the order in which they are published.
func (d *Dispatcher) Laned(endpoint string) (laned, ordered bool) {
	e := d.endpoint(endpoint)
	if e == nil || !e.laned.Load() {
		return false, false
	}
	return true, e.settings().Ordered
}

// LaneHolds tells that a delivery was published straight to an endpoint's lane.
func (d *Dispatcher) LaneHolds(endpoint string) { d.lanes.Holds(endpoint) }

// Statuses returns what is known about every endpoint, in order of names.
func (d *Dispatcher) Statuses() []endpoint.Status {
	now := time.Now()
	endpoints := *d.endpoints.Load()
	out := make([]endpoint.Status, 0, len(endpoints))
	for _, name := range slices.Sorted(maps.Keys(endpoints)) {
		out = append(out, endpoints[name].status(now))
	}
	return out
}

// onPause hears that an endpoint is paused, or resumed.
func (d *Dispatcher) onPause(endpoint string, p *endpoint.Pause) {
	d.applying.Lock()
	defer d.applying.Unlock()
	if p != nil {
		d.paused[endpoint] = *p
	} else {
		delete(d.paused, endpoint)
	}
	e := d.endpoint(endpoint)
	if e == nil {
		return
	}
	d.divert(e.pause(p, time.Now()))
	if p != nil {
		d.log.Warn("endpoint is paused: its deliveries are held", zap.String("endpoint", endpoint), zap.String("by", p.By), zap.String("reason", p.Reason))
	} else {
		d.log.Info("endpoint is resumed", zap.String("endpoint", endpoint))
	}
	d.pump(e)
	d.lanes.Look()
}

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
	if err := d.flush(flush); err != nil {
		return fmt.Errorf("some deliveries may come a second time: %w", err)
	}
	return nil
}

// loadPauses reads the pauses before anything is delivered. It reports false
// when ctx ended first.
func (d *Dispatcher) loadPauses(ctx context.Context) bool {
	const pause = time.Second
	for {
		err := d.pauses.Load(ctx)
		if err == nil {
			d.state("pauses", nil)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		d.state("pauses", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
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
func (d *Dispatcher) admit(m *intake.Message) {
	failpoint.Hit(failpoint.DeliveryFetched)
	dl := &delivery{msg: m, ep: d.endpoint(endpointOf(m.Msg.Subject))}
	switch {
	case hasVerdict(dl):
		d.beginUnasked(dl)
		return
	case dl.ep == nil:
		d.divert([]*delivery{dl})
		return
	}
	verdict, others := dl.ep.offer(dl, time.Now())
	switch verdict {
	case accepted:
		d.pump(dl.ep)
	case diverted:
		d.divert(append(others, dl))
	case returned:
		m.Nak()
	}
}
