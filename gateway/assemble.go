package gateway

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/gateway/overdue"
	"fanjet/gateway/source"
	"fanjet/gateway/topology"
	"fanjet/internal/publish"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
)

// link is what the parts reach NATS by.
type link struct {
	nc    *nats.Conn
	js    jetstream.JetStream
	state jetstream.KeyValue // the state bucket
}

// parts are what does the work of a gateway. None of them runs before [parts.run].
type parts struct {
	g    *Gateway
	at   link
	live *config.Config // that they were made for

	// They move events, and end first.
	matchers   []*source.Matcher
	dispatcher *subscriber.Dispatcher

	// They watch over the others, and end after them.
	truncator *truncator
	leftovers *leftovers
	backlog   *backlog
	own       *ownAddrs
	operators *controlServer
	overdue   *overdue.Watch
	ahead     *ahead
	monitor   *monitor
}

// assemble makes the parts: the dispatcher first, since the matchers ask it which
// endpoints have a lane, and reloads change it from then on.
func (g *Gateway) assemble(ctx context.Context, at link, to *publishers) (*parts, error) {
	p := &parts{g: g, at: at, live: g.reloading.config()}
	p.own = &ownAddrs{listeners: g.listeners(), resolve: egress.Lookup}
	if g.server == nil {
		p.own.look(ctx, at.nc) // before the first attempt
	}
	letters := &dlq.Writer{Names: g.names, Publisher: to.dead}
	delivery := g.deliveryOptions(p, to, letters)
	if g.adjust != nil {
		g.adjust(&delivery)
	}
	var err error
	if p.dispatcher, err = subscriber.New(delivery); err != nil {
		return nil, err
	}
	if err := g.reloading.join(p.dispatcher, p.live); err != nil {
		return nil, err
	}
	p.matchers = g.newMatchers(p, to, letters)

	p.truncator = newTruncator(g.opts.Registry, at.js, g.names, &g.clock, g.health)
	p.leftovers = &leftovers{js: at.js, names: g.names, want: topology.DueConsumer(g.names), log: g.log}
	p.backlog = newBacklog(g.opts.Registry, at.js, g.names, g.config, g.log)
	p.operators = newControlServer(at.nc, g.names, p.dispatcher, g.opts.Version, g.log)
	p.operators.ready, p.operators.overdue = g.health.err, g.overdue.Longest
	p.operators.refused, p.operators.missed = g.ReloadError, g.metrics.AllMissed
	p.overdue = g.watchRetries(at.js)
	p.ahead = &ahead{js: at.js, names: g.names, config: g.config, clock: &g.clock, log: g.log}
	p.monitor = &monitor{
		nc: at.nc, js: at.js, names: g.names, config: g.config, permissions: &g.permissions, server: g.server, health: g.health, log: g.log,
		publishers: map[string]*publish.Publisher{
			g.names.DeliveriesStream(): to.deliveries, g.names.RetriesStream(): to.retries,
			g.names.LanesStream(): to.inOrder, g.names.DeadLettersStream(): to.dead,
		},
	}
	return p, nil
}

// deliveryOptions are those of the dispatcher.
func (g *Gateway) deliveryOptions(p *parts, to *publishers, letters *dlq.Writer) subscriber.Options {
	return subscriber.Options{
		Conn: p.at.nc, JetStream: p.at.js, Names: g.names, State: p.at.state,
		Endpoints: p.live.Endpoints, Egress: p.live.Egress, Guard: egress.GuardOptions{Own: p.own.own()}, Version: g.opts.Version,
		Consumers: &ownConsumers{js: p.at.js, names: g.names, log: g.log},
		Retries:   to.retries, Lanes: to.moves, Letters: letters, ServerTime: g.clock.Now,
		Direct: g.config.Delivery.Direct, OnState: g.health.set, OnPause: g.recordPause, OthersLive: p.othersLive,
		Sources: (&sourcesProgress{js: p.at.js, names: g.names, sources: g.config.Sources}).look,
		Log:     g.log, Registerer: g.opts.Registry,
	}
}

// othersLive reports whether other gateways of the installation live. Nobody asks
// before the parts run.
func (p *parts) othersLive() bool { return p.operators.presence.othersLive() }

// newMatchers returns a matcher for each source.
func (g *Gateway) newMatchers(p *parts, to *publishers, letters *dlq.Writer) (all []*source.Matcher) {
	routes := &source.Routes{
		Publisher: to.routed, InOrder: to.inOrder,
		Route: p.dispatcher.Laned, Holds: p.dispatcher.LaneHolds,
	}
	for _, from := range g.config.Sources {
		m := source.New(source.Options{
			Source: from, Names: g.names, JetStream: p.at.js, Conn: p.at.nc, State: p.at.state, Match: &g.match, Own: g.canary.own, Direct: p.dispatcher,
			Deliveries: to.deliveries, Lanes: routes, Letters: letters, Metrics: g.metrics, ServerTime: g.clock.Now, Log: g.log,
			Report: func(err error) { g.health.set("source "+from.Stream, err) },
		})
		if g.observe != nil {
			g.observe(m)
		}
		all = append(all, m)
	}
	return all
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
