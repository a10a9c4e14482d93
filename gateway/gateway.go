// Package gateway is the running whole: it connects to NATS, keeps the streams
// and consumers in shape, matches events to endpoints, and has the subscriber
// package deliver them.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"fanjet/admin"
	"fanjet/config"
	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/gateway/overdue"
	"fanjet/gateway/source"
	"fanjet/gateway/topology"
	"fanjet/internal/audit"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/publish"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
)

// Options configure a [Gateway].
type Options struct {
	Config   *config.Config // required
	Version  string         // for the User-Agent and build_info
	Log      *zap.Logger    // default: none
	Registry *prometheus.Registry
	// Grace is how long attempts in flight may go on after a stop; default
	// 30 s.
	Grace time.Duration
}

// Gateway is one replica.
type Gateway struct {
	opts    Options
	config  *config.Config
	names   wire.Names
	log     *zap.Logger
	health  *health
	metrics *source.Metrics
	match   atomic.Pointer[match.Matcher]
	admin   *admin.Server
	canary  *canary                   // nil: there are none
	audit   atomic.Pointer[audit.Log] // nil before the start
	clock   servertime.Clock
	overdue *overdue.Metrics

	lateAfter time.Duration // of [overdue.Options]; tests shorten it

	permissions permissions // of the connection to NATS

	reloading reloading // what may change of config

	server  *broker.Server // nil: an external NATS
	started chan struct{}  // closed when it takes events

	adjust  func(*subscriber.Options) // tests shorten waits; nil: nothing
	observe func(*source.Matcher)     // tests look into one; nil: nobody does
}

// New checks what can be checked without NATS and binds the admin listener.
func New(o Options) (*Gateway, error) {
	if o.Config == nil {
		return nil, errors.New("gateway: Options.Config is missing")
	}
	o.Version = cmp.Or(o.Version, "dev")
	o.Grace = cmp.Or(o.Grace, 30*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	matcher, err := o.Config.Filters.Matcher(o.Config.Subscriptions)
	if err != nil {
		return nil, err
	}
	sources := make([]string, len(o.Config.Sources))
	for i, s := range o.Config.Sources {
		sources[i] = s.Stream
	}
	g := &Gateway{
		opts:    o,
		config:  o.Config,
		names:   wire.NewNames(o.Config.NATS.Prefix),
		log:     o.Log,
		health:  &health{log: o.Log},
		metrics: source.NewMetrics(o.Registry, sources),
		started: make(chan struct{}),
	}
	g.clock.Log, g.clock.Gauge = o.Log, servertime.NewGauge(o.Registry)
	g.clock.Ours = o.Config.NATS.URL == ""
	g.overdue = overdue.NewMetrics(o.Registry)
	g.match.Store(matcher)
	g.canary, err = newCanary(o.Config.Canary, g.names, g.health, o.Registry, o.Log)
	if err != nil {
		return nil, err
	}
	o.Config = g.canary.join(o.Config)
	g.reloading.live, g.reloading.metrics = o.Config, newReloadMetrics(o.Registry)
	g.health.setQuietly("gateway", errors.New("starting"))
	g.admin, err = admin.New(admin.Options{
		Settings: o.Config.Admin, Log: o.Log, Gatherer: o.Registry, Registerer: o.Registry, Ready: g.health.err,
	})
	if err != nil {
		g.canary.close()
		return nil, err
	}
	return g, nil
}

// Ready returns nil when the gateway can make progress, else every reason why
// it cannot.
func (g *Gateway) Ready() error { return g.health.err() }

// Started is closed when the gateway takes events for the first time.
func (g *Gateway) Started() <-chan struct{} { return g.started }

// AdminAddr is where the admin listener is bound.
func (g *Gateway) AdminAddr() string { return g.admin.Addr() }

// NATSURL is where clients reach the NATS server; of the embedded one it is
// known once [Gateway.Started] is closed.
func (g *Gateway) NATSURL() string {
	if g.server != nil {
		return g.server.URL()
	}
	return g.config.NATS.URL
}

// Run works until ctx ends, then stops: it takes no more, lets attempts in
// flight end, and returns when every acknowledgement has reached the server. An
// error means that it could not start, or could not stop cleanly.
func (g *Gateway) Run(ctx context.Context) error {
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	adminDone := make(chan error, 1)
	go func() { adminDone <- g.admin.Run(adminCtx) }()
	err := g.run(ctx)
	g.canary.close()
	stopAdmin()
	return errors.Join(err, <-adminDone)
}

func (g *Gateway) run(ctx context.Context) error {
	if g.config.NATS.URL == "" {
		server, err := broker.StartEmbedded(g.config.NATS.Embedded, g.log)
		if err != nil {
			return err
		}
		defer server.Shutdown()
		g.server = server
		defer g.watchStore()()
	}
	nc, err := broker.Connect(ctx, g.config.NATS, broker.ConnectOptions{
		Name: "fanjet gateway", Server: g.server, Log: g.log, OnError: g.permissions.observe,
		Inbox: g.names.GatewayInbox(),
	})
	if err != nil {
		return ignoreStop(ctx, err)
	}
	defer nc.Close()
	patient, err := g.config.NATS.JetStream(nc, jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return err
	}
	if err := g.prepare(ctx, patient); err != nil {
		return ignoreStop(ctx, err)
	}
	// A question that got lost with a connection is asked again soon.
	js, err := g.config.NATS.JetStream(nc, jetstream.WithDefaultTimeout(3*time.Second))
	if err != nil {
		return err
	}
	state, err := jsapi.OpenBucket(ctx, js, g.names.StateBucket())
	if err != nil {
		return ignoreStop(ctx, fmt.Errorf("cannot open the state bucket: %w", err))
	}
	return g.work(ctx, nc, js, state)
}

// watchStore has the embedded server look after its store, until end is called.
func (g *Gateway) watchStore() (end func()) {
	promauto.With(g.opts.Registry).NewCounterFunc(prometheus.CounterOpts{
		Name: "fanjet_nats_restarts_total", Help: "Restarts of the embedded NATS server within the process, because its store had met an error.",
	}, func() float64 { return float64(g.server.Restarts()) })
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { g.server.Watch(ctx, func(err error) { g.health.set(partStore, err) }) })
	return func() { stop(); watching.Wait() }
}

// prepare checks the server, and creates and checks streams and consumers. What
// will pass is tried again; what somebody must mend ends the start.
func (g *Gateway) prepare(ctx context.Context, js jetstream.JetStream) error {
	return broker.Wait(ctx, g.log, "JetStream", broker.Transient, func(ctx context.Context) error {
		err := g.config.NATS.CheckServer(ctx, js.Conn())
		if err == nil {
			err = topology.Ensure(ctx, js, g.names, g.config, g.log)
		}
		if err == nil {
			err = g.readClock(ctx, js)
		}
		if err != nil {
			g.health.setQuietly("gateway", fmt.Errorf("starting: %w", err))
		}
		return err
	})
}

// readClock asks for the server's time before the first schedule is set.
func (g *Gateway) readClock(ctx context.Context, js jetstream.JetStream) error {
	asked := g.clock.Here()
	stream, err := js.Stream(ctx, g.names.RetriesStream())
	if err != nil {
		return fmt.Errorf("cannot read the server's clock: %w", err)
	}
	g.clock.Observe(stream.CachedInfo().TimeStamp, asked, g.clock.Here())
	return nil
}

// work runs the parts: publishers, matchers, the dispatcher, and what watches
// over them.
func (g *Gateway) work(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, state jetstream.KeyValue) error {
	options := publish.Options{
		Conn: nc, Log: g.log.Named("publish"),
		Unsynced: g.server != nil && g.config.NATS.Embedded.SyncInterval > 0,
	}
	publisher := func(stream string, failWhenFull bool) *publish.Publisher {
		o := options
		o.Stream, o.FailWhenFull = stream, failWhenFull
		return publish.New(o)
	}
	deliveries := publisher(g.names.DeliveriesStream(), false)
	defer deliveries.Close()
	// Of the lanes there are three: the dispatcher must never wait for a queue
	// that the matchers fill, and what must stay in order waits when the stream
	// is full.
	wide, ordered := options, options
	wide.Stream, wide.FailWhenFull = g.names.LanesStream(), true
	wide.MaxQueue, wide.MaxQueueBytes = 16_384, 256<<20 // more than its windows
	ordered.Stream, ordered.InOrder = g.names.LanesStream(), true
	moves := publish.New(wide)
	defer moves.Close()
	routes := &source.Routes{
		Publisher: publisher(g.names.LanesStream(), true),
		InOrder:   publish.New(ordered),
	}
	defer routes.Publisher.Close()
	defer routes.InOrder.Close()
	retries := publisher(g.names.RetriesStream(), false)
	defer retries.Close()
	dead := publisher(g.names.DeadLettersStream(), true)
	defer dead.Close()
	letters := &dlq.Writer{Names: g.names, Publisher: dead}

	own := &ownAddrs{listeners: g.listeners(), resolve: egress.Lookup}
	if g.server == nil {
		own.look(ctx, nc)
	}
	consumers := &ownConsumers{js: js, log: g.log}
	deliverConfig, dueConfig := topology.DeliverConsumer(g.names), topology.DueConsumer(g.names)
	live := g.reloading.config()
	delivery := subscriber.Options{
		Conn: nc, JetStream: js, Names: g.names, State: state,
		Endpoints: live.Endpoints, Egress: live.Egress, Guard: egress.GuardOptions{Own: own.own()}, Version: g.opts.Version,
		OpenDeliver: consumers.opener(g.names.DeliveriesStream(), deliverConfig),
		OpenDue:     consumers.opener(g.names.RetriesStream(), dueConfig),
		OpenLane: func(ctx context.Context, endpoint string, ordered bool) error {
			return consumers.open(ctx, g.names.LanesStream(), topology.LaneConsumer(g.names, endpoint, ordered))
		},
		LookLane: func(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error) {
			return topology.LookLane(ctx, js, g.names, endpoint)
		},
		CheckLane: func(info *jetstream.ConsumerInfo, endpoint string) error {
			return topology.CheckLane(g.names, info, endpoint)
		},
		Retries: retries, Lanes: moves, Letters: letters, ServerTime: g.clock.Now,
		OnState: g.health.set, OnPause: g.recordPause,
		Log: g.log, Registerer: g.opts.Registry,
	}
	if g.adjust != nil {
		g.adjust(&delivery)
	}
	dispatcher, err := subscriber.New(delivery)
	if err != nil {
		return err
	}
	if err := g.reloading.join(dispatcher, live); err != nil {
		return err
	}

	routes.Route, routes.Holds = dispatcher.Laned, dispatcher.LaneHolds
	backlog := newBacklog(g.opts.Registry, js, g.names, g.config, g.log)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var watch errgroup.Group
	defer func() { stopBackground(); _ = watch.Wait() }()
	truncator := &truncator{
		js: js, names: g.names, want: deliverConfig, clock: &g.clock, health: g.health,
		removed: promauto.With(g.opts.Registry).NewCounter(prometheus.CounterOpts{
			Name: "fanjet_deliveries_truncated_total", Help: "Settled deliveries that were removed from the delivery log.",
		}),
	}
	watch.Go(func() error { truncator.run(background); return nil })
	leftovers := &leftovers{js: js, names: g.names, want: dueConfig, log: g.log}
	watch.Go(func() error { leftovers.run(background); return nil })
	watch.Go(func() error { backlog.run(background); return nil })
	if g.canary != nil {
		watch.Go(func() error { g.canary.listen(background); return nil })
		// No new ones once it is to stop; those under way may still come in.
		watch.Go(func() error { g.canary.run(ctx, js); return nil })
	}
	if g.server == nil {
		watch.Go(func() error { own.watch(background, nc); return nil })
	}
	watch.Go(func() error { g.operate(background, js, state); return nil })
	operators := newControlServer(nc, g.names, dispatcher, g.opts.Version, g.log)
	operators.ready, operators.overdue = g.health.err, g.overdue.Longest
	operators.refused, operators.missed = g.ReloadError, g.metrics.AllMissed
	operators.listen()
	watch.Go(func() error { operators.run(background); return nil })
	retryWatch := g.watchRetries(js)
	watch.Go(func() error { retryWatch.Run(background); return nil })
	if g.clock.Ours {
		ahead := &ahead{js: js, names: g.names, config: g.config, clock: &g.clock, log: g.log}
		watch.Go(func() error { ahead.run(background); return nil })
	}
	monitor := &monitor{
		nc: nc, js: js, names: g.names, config: g.config, permissions: &g.permissions, server: g.server, health: g.health, log: g.log,
		publishers: map[string]*publish.Publisher{
			g.names.DeliveriesStream(): deliveries, g.names.RetriesStream(): retries, g.names.LanesStream(): routes.InOrder, g.names.DeadLettersStream(): dead,
		},
	}
	watch.Go(func() error { monitor.run(background); return nil })

	var parts errgroup.Group
	parts.Go(func() error { return dispatcher.Run(ctx, g.opts.Grace) })
	for _, from := range g.config.Sources {
		m := source.New(source.Options{
			Source: from, Names: g.names, JetStream: js, Conn: nc, State: state, Match: &g.match, Own: g.canary.own,
			Deliveries: deliveries, Lanes: routes, Letters: letters, Metrics: g.metrics, ServerTime: g.clock.Now, Log: g.log,
			Report: func(err error) { g.health.set("source "+from.Stream, err) },
		})
		if g.observe != nil {
			g.observe(m)
		}
		parts.Go(func() error { return m.Run(ctx, g.opts.Grace) })
	}
	g.health.setQuietly("gateway", nil)
	close(g.started)
	natsURL := nc.ConnectedUrlRedacted() // a URL may carry a password
	if g.server != nil {
		natsURL = g.server.URL()
	}
	g.log.Info("ready", zap.String("nats", natsURL), zap.String("durability", g.durability()), zap.String("admin", g.admin.URL()),
		zap.Int("endpoints", len(live.Endpoints)), zap.Int("subscriptions", len(live.Subscriptions)))

	<-ctx.Done()
	g.reloading.end()
	g.health.setQuietly("gateway", errors.New("draining"))
	g.log.Info("stopping", zap.Int("held", dispatcher.Held()))
	return parts.Wait()
}

// watchRetries returns the watch for retries that are overdue.
func (g *Gateway) watchRetries(js jetstream.JetStream) *overdue.Watch {
	o := overdue.Options{
		JetStream: js, Names: g.names, Clock: &g.clock, Metrics: g.overdue, Log: g.log, After: g.lateAfter,
		Report:     func(err error) { g.health.set("retries", err) },
		StoreFails: func() bool { return g.health.fails(partStore) || g.health.fails(partStorage) },
	}
	if g.server != nil {
		o.Restart = g.server.Restart
	}
	return overdue.New(o)
}

// durability names the tier in force.
func (g *Gateway) durability() string {
	if g.server == nil {
		return "of the external server"
	}
	return g.config.NATS.Embedded.Durability()
}

// listeners are our own, which no endpoint may reach.
func (g *Gateway) listeners() []netip.AddrPort {
	addrs := []string{g.admin.Addr()}
	if g.server != nil {
		addrs = append(addrs, g.server.Addr())
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		if ap, err := netip.ParseAddrPort(a); err == nil {
			out = append(out, ap)
		}
	}
	return out
}

// ignoreStop hides an error that only says that the start was called off.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
