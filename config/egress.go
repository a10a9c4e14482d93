package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"fanjet/internal/broker"
	"fanjet/subscriber/egress"
)

func (l *loader) egress(n *node) {
	e := &l.cfg.Egress
	e.Ports, e.MaxConnectionAge = []uint16{443}, egress.DefaultConnectionAge
	if n == nil {
		return
	}
	var metadata map[*node]netip.Addr
	l.fields(n, fields{
		"allow_http": func(n *node) { l.boolean(n, &e.AllowHTTP) },
		"allow_cidrs": func(n *node) {
			l.texts(n, func(item *node, text string) {
				allowed, err := egress.ParseAllowedNet(text)
				if err != nil {
					l.errorf(item, "%v", err)
					return
				}
				if allowed.Prefix.Bits() == 0 {
					l.warnf(item, "opens every address of its kind, and all that listens there: name the ranges of the receivers")
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
		"allow_metadata": func(n *node) { metadata = l.allowMetadata(n, e) },
		"proxy":          func(n *node) { l.proxy(n, &e.Proxy) },
		"max_connection_age": func(n *node) {
			l.duration(n, &e.MaxConnectionAge, span{least: egress.MinConnectionAge, most: egress.MaxConnectionAge, zero: true})
		},
	})
	for item, addr := range metadata {
		if !slices.ContainsFunc(e.AllowCIDRs, func(allowed egress.AllowedNet) bool { return allowed.Prefix.Contains(addr) }) {
			l.warnf(item, "has no effect: no range of egress.allow_cidrs contains the address")
		}
	}
}

// allowMetadata returns where each address stands.
func (l *loader) allowMetadata(n *node, e *egress.Policy) map[*node]netip.Addr {
	places := make(map[*node]netip.Addr)
	l.texts(n, func(item *node, text string) {
		addr, err := egress.ParseMetadataAddr(text)
		if err != nil {
			l.errorf(item, "%v", err)
			return
		}
		e.AllowMetadata = append(e.AllowMetadata, addr)
		places[item] = addr
	})
	return places
}

// proxy reads the URL of a proxy, or a map with its URL and what it asks for.
func (l *loader) proxy(n *node, p *egress.Proxy) {
	if n.kind != kindMap {
		l.proxyURL(n, p)
		return
	}
	l.fields(n, fields{
		"url": func(n *node) { l.proxyURL(n, p) },
		"username": func(n *node) {
			text, ok := l.text(n)
			err := egress.CheckProxyUser(text)
			switch {
			case !ok:
			case err != nil:
				l.errorf(n, "%v", err)
			case strings.Contains(text, ":"):
				l.errorf(n, "must not contain a colon: it ends where the password begins")
			default:
				p.Username = text
			}
		},
		"password": func(n *node) {
			if text, ok := l.text(n); ok {
				p.Password, _ = l.reference(n, text, secretKind{example: "PROXY_PASSWORD", check: egress.CheckProxyUser})
			}
		},
	})
	set := func(key string) bool { v := n.get(key); return v != nil && v.text != "" }
	switch {
	case !set("url"):
		l.errorf(n, "url is missing: add the address of the proxy")
	case set("username") != set("password"):
		l.errorf(n, "username and password belong together: set both or neither")
	}
}

func (l *loader) proxyURL(n *node, p *egress.Proxy) {
	text, ok := l.text(n)
	if !ok || text == "" {
		return
	}
	u, err := egress.ParseProxy(text)
	if err != nil {
		l.errorf(n, "%v", err)
		return
	}
	p.URL = u
}

// Listeners are the addresses that the configuration gives to Fanjet's own
// listeners and, where it names them by address, to the servers of NATS: no
// endpoint may have them. A port that is not known yet is left out.
func (c *Config) Listeners() []netip.AddrPort {
	own := listeners(c.Admin.Listen)
	if c.NATS.URL == "" {
		return append(own, listeners(c.NATS.Embedded.Listen)...)
	}
	return append(own, natsServers(c.NATS.URL)...)
}

// natsServers are the addresses in a list of NATS servers.
func natsServers(list string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, address := range broker.Addresses(list) {
		host, _, _ := net.SplitHostPort(address)
		if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
			out = append(out, listeners(address)...)
		}
	}
	return out
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
