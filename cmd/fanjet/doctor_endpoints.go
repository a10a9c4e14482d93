package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"fanjet/config"
	"fanjet/internal/slip"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"
)

const (
	// probesAtOnce is how many receivers are connected to at a time.
	probesAtOnce = 32
	// manyEndpoints is from when on the check takes a while, and says so.
	manyEndpoints = 200
)

// chosenEndpoints are the endpoints with some names; without names, all.
func chosenEndpoints(cfg *config.Config, names []string) ([]endpoint.Settings, error) {
	if len(names) == 0 {
		return cfg.Endpoints, nil
	}
	known := make(map[string]endpoint.Settings, len(cfg.Endpoints))
	for _, e := range cfg.Endpoints {
		known[e.Name] = e
	}
	var chosen []endpoint.Settings
	for _, name := range names {
		e, ok := known[name]
		if !ok {
			return nil, usagef("--endpoint: %q is not in the configuration%s", name, slip.DidYouMean(name, slices.Collect(maps.Keys(known))))
		}
		chosen = append(chosen, e)
	}
	return chosen, nil
}

// examineEndpoints connects to the receivers of endpoints, to each address once,
// and sends them nothing.
func examineEndpoints(ctx context.Context, d *diagnosis, cfg *config.Config, endpoints []endpoint.Settings, timeout time.Duration) {
	guard := egress.New(cfg.Egress, egress.GuardOptions{
		Own: egress.Own{Listeners: cfg.Listeners, Machine: egress.MachineAddrs},
	})
	targets := make(map[string]*url.URL)
	for _, e := range endpoints {
		targets[receiverOf(e.URL)] = e.URL
	}
	keys := slices.Sorted(maps.Keys(targets))
	probes := make([]httpsend.Probe, len(keys))
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for i, key := range keys {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			probes[i] = httpsend.ProbeURL(ctx, guard, targets[key])
			return nil
		})
	}
	_ = group.Wait() // none fails
	found := make(map[string]httpsend.Probe, len(keys))
	for i, key := range keys {
		found[key] = probes[i]
	}
	for _, e := range endpoints {
		reportProbe(d, e.Name, e.URL.Scheme, found[receiverOf(e.URL)])
	}
}

// receiverOf is what of a URL decides where a connection goes.
func receiverOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// reportProbe judges what a connection to an endpoint's receiver came to.
func reportProbe(d *diagnosis, endpoint, scheme string, p httpsend.Probe) {
	if p.Failure != "" {
		d.problem("endpoints", endpoint, probeFix(p.Class), "%s", p.Failure)
		return
	}
	var addrs []string
	for _, v := range p.Verdicts {
		if v.Err != nil {
			d.warn("endpoints", endpoint, "", "one of its addresses is not used: %v", v.Err)
			continue
		}
		addrs = append(addrs, v.Addr.String())
	}
	at := strings.Join(addrs, ", ")
	if scheme == "http" {
		d.ok("endpoints", endpoint, "can be reached at %s, by plain http", at)
		return
	}
	left := time.Until(p.NotAfter)
	days := fmt.Sprintf("its certificate is valid for %s", counted(int(left.Hours()/24), "day"))
	// Those that live for days only are renewed late in their life.
	if left < min(14*24*time.Hour, p.NotAfter.Sub(p.NotBefore)/4) {
		d.warn("endpoints", endpoint, "let whoever runs the receiver renew it: afterwards every attempt fails", "%s only, until %s", days, p.NotAfter.UTC().Format(time.RFC3339))
		return
	}
	d.ok("endpoints", endpoint, "can be reached at %s, %s, %s", at, p.TLS, days)
}

// probeFix says what to do about a failure, where its text does not.
func probeFix(class outcome.Class) string {
	switch class {
	case outcome.ClassDNS:
		return "correct the name in its url, or mend the resolver of this machine"
	case outcome.ClassTLS:
		return "let whoever runs the receiver mend its certificate, or correct the name in its url"
	case outcome.ClassConnect, outcome.ClassTimeout:
		return "see whether the receiver is up, and whether a firewall is between"
	default:
		return ""
	}
}
