package config

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
)

// endpoints reads the endpoints of one file.
func (l *loader) endpoints(n *node) {
	if n == nil || !l.is(n, kindMap) {
		return
	}
	for _, p := range n.pairs {
		name := p.key.text
		if before := l.declared[name]; before != nil {
			l.errorf(p.key, "this endpoint is already declared at %s: rename or remove one of them", before.place())
			continue
		}
		l.declared[name] = p.key
		if err := endpoint.CheckName(name); err != nil {
			l.errorf(p.key, "%v", err)
		} else if name == CanaryEndpoint {
			l.errorf(p.key, "is the name of the endpoint of the canaries: choose another one")
		}
		l.endpoint(p.key, p.value)
	}
}

func (l *loader) endpoint(key, n *node) {
	if n.kind == kindNull { // its defaults may have everything
		n.kind = kindMap
	}
	if n.kind != kindMap && n.kind != kindInvalid {
		l.errorf(n, "must be a map of settings, not %s: indent the settings of an endpoint below its name", n.kind)
	}
	if n.kind != kindMap {
		return
	}
	e := l.defaults
	e.Name = key.text
	e.Headers = e.Headers.Clone()
	if !l.fails(func() { l.settings(n, &e) }) && !l.defaultsFailed {
		l.inLine(n, &e)
	}
	if !l.set(n, "url") {
		l.errorf(key, "url is missing: add the address that events are sent to")
	}
	if n.get("secrets") == nil {
		l.limitedDefaults(key)
	}
	if !l.set(n, "secrets") {
		l.errorf(key, "secrets are missing: add one such as env:%s; `fanjet secret new` makes its value", envName(e.Name))
	}
	l.cfg.Endpoints = append(l.cfg.Endpoints, e)
}

// set reports whether an endpoint or the defaults have a key.
func (l *loader) set(n *node, key string) bool {
	return n.get(key) != nil || l.defaultsNode != nil && l.defaultsNode.get(key) != nil
}

// envName is a variable for the secret of an endpoint.
func envName(endpoint string) string {
	return strings.ToUpper(strings.ReplaceAll(endpoint, "-", "_")) + "_SECRET"
}

// settings reads the settings of an endpoint, or those of all, over e. Lists
// take the place of those of the defaults; headers, retry and circuit are
// merged.
func (l *loader) settings(n *node, e *endpoint.Settings) {
	l.fields(n, fields{
		"url":     func(n *node) { l.url(n, e) },
		"secrets": func(n *node) { e.Secrets = l.secrets(n) },
		"headers": func(n *node) { l.headers(n, &e.Headers) },
		"timeout": func(n *node) {
			l.duration(n, &e.Timeout, span{least: endpoint.MinDuration, most: endpoint.MaxTimeout})
		},
		"max_in_flight": func(n *node) { l.integer(n, &e.MaxInFlight, 1, endpoint.MaxInFlight) },
		"retry":         func(n *node) { l.retry(n, &e.Retry) },
		"dead_letter_on": func(n *node) {
			e.DeadLetterOn = nil
			l.texts(n, func(item *node, _ string) {
				status := 0
				if l.integer(item, &status, 300, 599); status > 0 {
					l.passing(item, status)
					e.DeadLetterOn = append(e.DeadLetterOn, status)
				}
			})
		},
		"rate_limit":   func(n *node) { l.rate(n, &e.RateLimit) },
		"circuit":      func(n *node) { l.circuit(n, &e.Circuit) },
		"ordered":      func(n *node) { l.boolean(n, &e.Ordered) },
		"on_exhausted": func(n *node) { l.onExhausted(n, &e.Block) },
		"format":       func(n *node) { l.only(n, "raw", "cloudevents", "cloudevents-binary") },
		"transform":    l.notYet,
	})
}

func (l *loader) url(n *node, e *endpoint.Settings) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	u, err := egress.ParseURL(text, l.cfg.Egress, l.own...)
	switch {
	case errors.Is(err, egress.ErrBlocked) && l.egressFailed:
		// The policy is not the one that was meant.
	case err != nil:
		l.errorf(n, "%v", err)
	default:
		e.URL = u
	}
}

func (l *loader) headers(n *node, headers *http.Header) {
	if *headers == nil {
		*headers = make(http.Header)
	}
	own := make(map[string]*node)
	for _, p := range l.entries(n) {
		value, ok := l.text(p.value)
		if !ok {
			continue
		}
		name := http.CanonicalHeaderKey(p.key.text)
		if before := own[name]; before != nil {
			l.errorf(p.key, "is the same header as the one at %s: remove one of them", before.place())
			continue
		}
		own[name] = p.key
		if err := endpoint.CheckHeader(p.key.text, value); err != nil {
			l.errorf(p.key, "%v", err)
			continue
		}
		(*headers)[name] = []string{value}
	}
	if len(*headers) > endpoint.MaxHeaders {
		l.errorf(n, "has %d headers, with those of the defaults; at most %d are allowed", len(*headers), endpoint.MaxHeaders)
	}
}

func (l *loader) retry(n *node, r *endpoint.Retry) {
	before := len(l.problems)
	l.fields(n, fields{
		"schedule": func(n *node) { l.schedule(n, &r.Schedule) },
		"jitter":   func(n *node) { l.share(n, &r.Jitter) },
		"max_age":  func(n *node) { l.duration(n, &r.MaxAge, span{least: endpoint.MinDuration, most: endpoint.MaxAge}) },
	})
	var total time.Duration
	for _, wait := range r.Schedule {
		total += wait
	}
	if len(l.problems) == before && total > r.MaxAge {
		l.warnf(n, "the waits of the schedule add up to %s, but max_age ends it after %s: the last attempts are never made",
			formatDuration(total), formatDuration(r.MaxAge))
	}
}

func (l *loader) schedule(n *node, schedule *[]time.Duration) {
	items := l.list(n)
	switch {
	case n.kind != kindList:
		return
	case len(items) == 0:
		l.errorf(n, "is empty: list the waits between attempts, such as [5s, 1m, 1h]")
		return
	case len(items) > endpoint.MaxSchedule:
		l.errorf(n, "has %d waits; at most %d are allowed", len(items), endpoint.MaxSchedule)
		return
	}
	waits := make([]time.Duration, len(items))
	if !l.fails(func() {
		for i, item := range items {
			l.duration(item, &waits[i], span{least: endpoint.MinDuration, most: endpoint.MaxWait})
		}
	}) {
		l.falling(n, waits)
	}
	*schedule = waits
}

// only accepts the first of some words for now.
func (l *loader) only(n *node, now string, later ...string) {
	text, ok := l.oneOf(n, append([]string{now}, later...)...)
	if ok && text != now {
		l.errorf(n, "%s is not available yet: leave it out, or set it to %s", text, now)
	}
}
