package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// writeDownGrace is how much longer than an attempt may go on, when the gateway stops, a
// matcher waits: what was interrupted is stored then.
const writeDownGrace = 5 * time.Second

// run starts the parts, waits for the end of ctx, and stops them. The order of the start:
// what watches over the work, so that nothing goes on unseen; the work, deliveries before
// the events that become some; then it is said that the gateway takes events. The stop:
// no reload begins any more, and readiness says "draining"; the work ends, each part with
// its acks; what watched over it ends last. Publishers and connection are the caller's.
func (p *parts) run(ctx context.Context) error {
	g := p.g
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	defer func() { stopBackground(); watching.Wait() }()
	watch := func(run func(context.Context)) { watching.Go(func() { run(background) }) }
	watch(p.truncator.run)
	watch(p.leftovers.run)
	watch(p.backlog.run)
	if g.canary != nil {
		watch(g.canary.listen)
		// No new ones once it is to stop; those under way may still come in.
		watching.Go(func() { g.canary.run(ctx, p.at.js) })
	}
	if g.server == nil {
		watch(func(ctx context.Context) { p.own.watch(ctx, p.at.nc) })
	}
	watch(func(ctx context.Context) { g.operate(ctx, p.at.js, p.at.state) })
	p.operators.listen() // before anybody can see that it is ready
	watch(p.operators.run)
	watch(p.overdue.Run)
	if g.clock.Ours {
		watch(p.ahead.run)
	}
	watch(p.monitor.run)

	var work errgroup.Group
	work.Go(func() error { return p.dispatcher.Run(ctx, g.opts.Grace) })
	for _, m := range p.matchers {
		work.Go(func() error { return m.Run(ctx, g.opts.Grace+writeDownGrace) })
	}
	p.tellReady()

	<-ctx.Done()
	g.reloading.end()
	g.health.setQuietly("gateway", errors.New("draining"))
	g.log.Info("stopping", zap.Int("held", p.dispatcher.Held()))
	return work.Wait()
}

// tellReady says that the gateway takes events.
func (p *parts) tellReady() {
	g := p.g
	g.health.setQuietly("gateway", nil)
	close(g.started)
	natsURL := p.at.nc.ConnectedUrlRedacted() // a URL may carry a password
	if g.server != nil {
		natsURL = g.server.URL()
	}
	g.log.Info("ready", zap.String("nats", natsURL), zap.String("durability", g.durability()), zap.String("admin", g.admin.URL()),
		zap.Int("endpoints", len(p.live.Endpoints)), zap.Int("subscriptions", len(p.live.Subscriptions)))
}
