package config

import (
	"cmp"
	"net/netip"
	"slices"
)

func (l *loader) admin(root, n *node) {
	a := &l.cfg.Admin
	a.Listen = "127.0.0.1:8422"
	if n != nil {
		l.fields(n, fields{
			"listen": func(n *node) { l.listen(n, &a.Listen) },
			"tokens": l.notYet,
			"behind_tls_proxy": func(n *node) {
				behind := false
				if l.boolean(n, &behind); behind {
					l.notYet(n)
				}
			},
		})
	}
	own := listeners(a.Listen)
	if slices.ContainsFunc(own, func(addr netip.AddrPort) bool { return slices.Contains(l.own, addr) }) {
		l.errorf(cmp.Or(n, root), "the listeners of admin and of nats.embedded are at the same address: choose another port for one of them")
	}
	l.own = append(l.own, own...)
}
