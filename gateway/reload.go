package gateway

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"fanjet/admin"
	"fanjet/config"
	"fanjet/internal/failpoint"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"

	"go.uber.org/zap"
)

// reloading is the part of the configuration that may change while a gateway
// runs.
type reloading struct {
	metrics reloadMetrics

	mu        sync.Mutex     // held for the whole of a reload
	live      *config.Config // in force; what needs a restart is as it was at the start
	endpoints endpointSet    // nil before the start
	stopped   bool
	failed    error // why the latest reload came to nothing; nil: it succeeded
}

// endpointSet is who delivers to the endpoints of the configuration.
type endpointSet interface {
	// Apply makes these endpoints the known ones, under this policy. A delivery
	// on its way to one that stays goes on. After an error everything is as
	// before.
	Apply(endpoints []endpoint.Settings, egress egress.Policy) error
}

// config returns the configuration in force.
func (r *reloading) config() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live
}

// join lets reloads change a set that was made for the configuration of, which
// may be another one by now.
func (r *reloading) join(endpoints endpointSet, of *config.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints = endpoints
	if r.live == of {
		return nil
	}
	return endpoints.Apply(r.live.Endpoints, r.live.Egress)
}

// end lets no reload begin any more.
func (r *reloading) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// Reload puts another configuration into force: endpoints, subscriptions and the
// egress policy. A delivery on its way is not touched. What cannot change while
// the gateway runs stays as it is; a warning names its keys. Before [Gateway.Run]
// has started to deliver, it will start with this configuration.
//
// After an error the configuration before stays in force as a whole. Reload may
// be called concurrently.
func (g *Gateway) Reload(cfg *config.Config) (config.Changes, error) {
	r := &g.reloading
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return config.Changes{}, subscriber.ErrStopping
	}
	cfg = g.canary.join(cfg)
	changes := config.Compare(r.live, cfg)
	err := g.admin.Apply(cfg.Admin)
	if err == nil {
		if err = g.apply(cfg, changes); err != nil {
			err = errors.Join(err, g.admin.Apply(r.live.Admin))
		}
	}
	if errors.Is(err, subscriber.ErrStopping) { // it began meanwhile, and there is nothing wrong with the file
		return config.Changes{}, subscriber.ErrStopping
	}
	if err != nil {
		err = fmt.Errorf("the configuration cannot be put into force: %w", err)
		g.rejected(err)
		return config.Changes{}, err
	}
	g.reportReload(r.live, cfg, changes)
	next := *r.live
	next.Endpoints, next.Subscriptions, next.Egress = cfg.Endpoints, cfg.Subscriptions, cfg.Egress
	// Where the listener is waits for a restart, and so shows again next time.
	next.Admin.Tokens, next.Admin.Hosts = cfg.Admin.Tokens, cfg.Admin.Hosts
	if (next.Admin.TLS == admin.TLS{}) == (cfg.Admin.TLS == admin.TLS{}) {
		next.Admin.TLS = cfg.Admin.TLS
	}
	next.Filters, next.Warnings, next.Declared = cfg.Filters, cfg.Warnings, cfg.Declared
	r.live, r.failed = &next, nil
	r.metrics.succeeded()
	return changes, nil
}

// apply makes changes. An event is never routed to an endpoint that is not known
// (yet, or any more): endpoints come before the subscriptions that name them,
// and go after them.
func (g *Gateway) apply(cfg *config.Config, changes config.Changes) error {
	r, before := &g.reloading, g.match.Load()
	matcher := before
	if !changes.Subscriptions.None() {
		var err error
		if matcher, err = cfg.Filters.Matcher(cfg.Subscriptions); err != nil {
			return err
		}
	}
	endpointsChange := !changes.Endpoints.None() || changes.Egress
	if r.endpoints != nil && endpointsChange {
		if err := r.endpoints.Apply(withRemoved(cfg.Endpoints, r.live.Endpoints, changes.Endpoints.Removed), cfg.Egress); err != nil {
			return err
		}
	}
	failpoint.Hit(failpoint.EndpointsReplaced)
	g.match.Store(matcher)
	failpoint.Hit(failpoint.MatcherReplaced)
	if r.endpoints == nil || len(changes.Endpoints.Removed) == 0 {
		return nil
	}
	if err := r.endpoints.Apply(cfg.Endpoints, cfg.Egress); err != nil {
		g.match.Store(before)
		return errors.Join(err, r.endpoints.Apply(r.live.Endpoints, r.live.Egress))
	}
	return nil
}

// withRemoved returns endpoints together with those of before that are removed,
// whose names are sorted.
func withRemoved(endpoints, before []endpoint.Settings, removed []string) []endpoint.Settings {
	if len(removed) == 0 {
		return endpoints
	}
	all := slices.Clone(endpoints)
	for _, e := range before {
		if _, found := slices.BinarySearch(removed, e.Name); found {
			all = append(all, e)
		}
	}
	return all
}

// ReloadFailed tells the gateway that a new version of its configuration could
// not be loaded, and why, for [Gateway.ReloadError], the log and the metrics. The
// configuration in force stays.
func (g *Gateway) ReloadFailed(err error) {
	g.reloading.mu.Lock()
	defer g.reloading.mu.Unlock()
	g.rejected(err)
}

// ReloadError is why the latest version of the configuration is not in force,
// nil if it is. It may be an *[config.Errors].
func (g *Gateway) ReloadError() error {
	g.reloading.mu.Lock()
	defer g.reloading.mu.Unlock()
	return g.reloading.failed
}

// AdminCertificate is the file with the certificate of the admin listener that is in
// force; empty if it speaks plain HTTP.
func (g *Gateway) AdminCertificate() string { return g.reloading.config().Admin.TLS.Cert }

// rejected remembers and reports a reload that failed.
func (g *Gateway) rejected(err error) {
	g.reloading.failed = err
	g.reloading.metrics.refused()
	g.log.Error("the new configuration is not used; the one before stays in force", zap.Strings("problems", problems(err)))
}
