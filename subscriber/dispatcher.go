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
package subscriber

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// Options configure a [Dispatcher]. All fields are required unless they say
// otherwise.
type Options struct {
	Conn      *nats.Conn
	Names     wire.Names
	State     jetstream.KeyValue // the state bucket
	Endpoints []Endpoint
	Egress    Egress
	Refuse    []netip.AddrPort // addresses of our own listeners; optional
	Version   string           // for the User-Agent

	// OpenDeliver and OpenDue make sure that the two consumers exist that
	// deliveries come from.
	OpenDeliver, OpenDue func(context.Context) error
	// Retries publishes to the retries stream.
	Retries *publish.Publisher
	Letters *dlq.Writer
	// ServerTime returns the time by the NATS server's clock.
	ServerTime func() time.Time
	// OnState hears about the two consumers, see [intake.Options.State];
	// optional.
	OnState func(consumer string, err error)

	RemovalGrace time.Duration // how long an unknown endpoint's deliveries wait; default 10 min
	Log          *zap.Logger
	Registerer   prometheus.Registerer
}

// Limits of what is held in memory, a consumer.
const (
	deliverWindow = 4096
	dueWindow     = 2048
)

// AckWait is what the delivery consumers must have: how long after a gateway
// was killed its deliveries come again.
const AckWait = 10 * time.Second

// Dispatcher delivers to endpoints.
type Dispatcher struct {
	opts      Options
	log       *zap.Logger
	sampled   *zap.Logger // for what may happen with every delivery
	metrics   *metrics
	endpoints map[string]*endpoint
	removals  *removals
	random    func() float64 // uniform in [0, 1); may be called concurrently

	deliver, due *intake.Intake

	idle    chan *delivery  // an idle worker takes from it
	spawn   func(*delivery) // starts a worker
	workers sync.WaitGroup
}

// delivery is one delivery at work.
type delivery struct {
	msg *intake.Message
	ep  *endpoint // nil: not in the configuration
}

// New returns a dispatcher that delivers once [Dispatcher.Run] is called. The
// error names an endpoint whose secrets cannot be used.
func New(o Options) (*Dispatcher, error) {
	if o.RemovalGrace == 0 {
		o.RemovalGrace = 10 * time.Minute
	}
	d := &Dispatcher{
		opts:      o,
		log:       o.Log.Named("deliver"),
		metrics:   newMetrics(o.Registerer),
		endpoints: make(map[string]*endpoint, len(o.Endpoints)),
		random:    rand.Float64,
		idle:      make(chan *delivery),
	}
	d.sampled = d.log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 5, 0)
	}))
	for _, settings := range o.Endpoints {
		ep, err := newEndpoint(settings, &o, o.Refuse, d.metrics)
		if err != nil {
			return nil, err
		}
		d.endpoints[settings.Name] = ep
	}
	d.removals = newRemovals(o.State, d.endpoints, d.log)
	d.deliver = d.newIntake(o.Names.DeliveriesStream(), o.Names.DeliverConsumer(), o.OpenDeliver, deliverWindow)
	d.due = d.newIntake(o.Names.RetriesStream(), o.Names.DueConsumer(), o.OpenDue, dueWindow)
	return d, nil
}

func (d *Dispatcher) newIntake(stream, consumer string, open func(context.Context) error, window int) *intake.Intake {
	return intake.New(intake.Options{
		Conn:     d.opts.Conn,
		Stream:   stream,
		Consumer: consumer,
		Open:     open,
		Handle:   d.admit,
		State: func(err error) {
			if d.opts.OnState != nil {
				d.opts.OnState(consumer, err)
			}
		},
		Window: window,
		Beat:   AckWait / 3,
	})
}

// Run delivers until ctx ends. Then it takes no more, lets the attempts in
// flight end for at most grace, gives back what has not been attempted, and
// returns when the acknowledgements have reached the server.
func (d *Dispatcher) Run(ctx context.Context, grace time.Duration) error {
	// Work goes on for the grace time after ctx ended, the beats until the end.
	work, interrupt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer interrupt(nil)
	beats, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	defer background.Wait()
	defer stopBeats()
	background.Go(func() { d.deliver.Beat(beats) })
	background.Go(func() { d.due.Beat(beats) })
	background.Go(func() { d.removals.run(ctx) })

	d.startWorkers(work)
	var intakes sync.WaitGroup
	intakes.Go(func() { d.deliver.Run(ctx) })
	intakes.Go(func() { d.due.Run(ctx) })
	intakes.Wait()

	for _, ep := range d.endpoints {
		for _, waiting := range ep.stop() {
			waiting.msg.Nak()
		}
	}
	timer := time.AfterFunc(grace, func() { interrupt(errInterrupted) })
	defer timer.Stop()
	close(d.idle)
	d.workers.Wait()
	for _, ep := range d.endpoints {
		ep.closeIdle()
	}

	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var err error
	for _, in := range []*intake.Intake{d.deliver, d.due} {
		if e := in.Flush(flush); e != nil {
			err = fmt.Errorf("some deliveries may come a second time: %w", e)
		}
	}
	return err
}

// Held returns how many deliveries are in memory: waiting or being attempted.
func (d *Dispatcher) Held() int { return d.deliver.Held() + d.due.Held() }

// admit takes a message off the wire. It never blocks.
func (d *Dispatcher) admit(m *intake.Message) {
	dl := &delivery{msg: m, ep: d.endpoints[endpointOf(m.Msg.Subject)]}
	if dl.ep == nil {
		d.start(dl)
		return
	}
	start, taken := dl.ep.admit(dl)
	switch {
	case start:
		d.start(dl)
	case !taken:
		m.Nak()
	}
}

// endpointOf returns the endpoint that a delivery's subject names, see
// [wire.Names].
func endpointOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }
