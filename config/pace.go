package config

import "fanjet/subscriber/endpoint"

// rate reads a rate limit; an empty one takes that of the defaults away.
func (l *loader) rate(n *node, r *endpoint.Rate) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	rate, err := parseRate(text)
	if err != nil {
		l.errorf(n, "%v", err)
		return
	}
	*r = rate
}

// circuit reads the settings of a circuit over those of the defaults.
func (l *loader) circuit(n *node, c *endpoint.Circuit) {
	if n.kind == kindScalar {
		l.errorf(n, "must be a map such as {failures: 10, probe: 5s, max_probe: 5m}; with failures: 0 the circuit never opens")
		return
	}
	read := *c
	bounds := span{least: endpoint.MinDuration, most: endpoint.MaxProbe}
	if l.fails(func() {
		l.fields(n, fields{
			"failures":  func(n *node) { l.integer(n, &read.Failures, 0, endpoint.MaxFailures) },
			"probe":     func(n *node) { l.duration(n, &read.Probe, bounds) },
			"max_probe": func(n *node) { l.duration(n, &read.MaxProbe, bounds) },
		})
	}) {
		return
	}
	if read.Probe > read.MaxProbe {
		at, key := n.get("probe"), "max_probe"
		if at == nil {
			at, key = n.get("max_probe"), "probe"
		}
		l.errorf(at, "probe is %s and max_probe %s, but the first wait cannot be longer than the longest: change it, or set %s too",
			formatDuration(read.Probe), formatDuration(read.MaxProbe), key)
		return
	}
	*c = read
}

// onExhausted reads what becomes of the line behind a delivery of an ordered
// endpoint that has used up its attempts.
func (l *loader) onExhausted(n *node, block *bool) {
	if text, ok := l.oneOf(n, "dead_letter", "block"); ok {
		*block = text == "block"
	}
}

// inLine settles what it means for the other settings of an endpoint, n, that
// it is ordered or not. What only the defaults say is meant for the endpoints
// that it fits.
func (l *loader) inLine(n *node, e *endpoint.Settings) {
	if !e.Ordered {
		if at := n.get("on_exhausted"); at != nil && e.Block {
			l.errorf(at, "block needs ordered: true: without an order there is no line that could wait")
		}
		e.Block = false
		return
	}
	if at := n.get("max_in_flight"); at != nil && e.MaxInFlight != 1 {
		l.warnf(at, "has no effect: an endpoint that is ordered has one attempt in flight; remove it, or set ordered to false")
	}
	e.MaxInFlight = 1
	if at := n.get("circuit"); at != nil && e.Circuit.Failures > 0 {
		l.warnf(at, "never opens: an endpoint that is ordered has no circuit, its line waits for the delivery in front; remove it, or set ordered to false")
	}
}
