package config

import "fanjet/subscriber"

func (l *loader) egress(n *node) {
	e := &l.cfg.Egress
	e.Ports = []uint16{443}
	if n == nil {
		return
	}
	l.fields(n, fields{
		"allow_http": func(n *node) { l.boolean(n, &e.AllowHTTP) },
		"allow_cidrs": func(n *node) {
			l.texts(n, func(item *node, text string) {
				allowed, err := subscriber.ParseAllowedNet(text)
				if err != nil {
					l.errorf(item, "%v", err)
					return
				}
				if allowed.Prefix.Bits() == 0 {
					l.warnf(item, "opens every address, those of the metadata services of clouds among them: name the ranges of the receivers")
				}
				e.AllowCIDRs = append(e.AllowCIDRs, allowed)
			})
		},
		"ports": func(n *node) {
			e.Ports = nil
			l.texts(n, func(item *node, _ string) {
				port := 0
				if l.integer(item, &port, 1, 65535); port > 0 {
					e.Ports = append(e.Ports, uint16(port))
				}
			})
		},
		"proxy": l.notYet,
	})
}

func (l *loader) deadLetters(n *node) {
	if n == nil {
		return
	}
	l.fields(n, fields{
		"max_age": func(n *node) {
			l.duration(n, &l.cfg.DeadLetters.MaxAge, span{least: minStreamAge, most: maxStreamAge, zero: true})
		},
		"max_bytes": func(n *node) { l.size(n, &l.cfg.DeadLetters.MaxBytes) },
	})
}
