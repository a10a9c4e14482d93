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

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"fanjet/admin"
	"fanjet/config"
	"fanjet/gateway/match"
	"fanjet/gateway/overdue"
	"fanjet/gateway/source"
	"fanjet/gateway/topology"
	"fanjet/internal/audit"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
	"fanjet/subscriber"
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
	err := g.connectAndWork(ctx)
	g.canary.close()
	stopAdmin()
	return errors.Join(err, <-adminDone)
}

// connectAndWork starts the embedded server, if it is the one, connects, and works. What
// was opened first is closed last: the parts stop, then publishers, connection, the watch
// of the store and the server.
func (g *Gateway) connectAndWork(ctx context.Context) error {
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
	at := link{nc: nc, js: js, state: state}
	to := g.openPublishers(at)
	defer to.close()
	parts, err := g.assemble(ctx, at, to)
	if err != nil {
		return err
	}
	return parts.run(ctx)
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
