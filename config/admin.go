package config

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fanjet/admin"
)

func (l *loader) admin(root, n *node) {
	a := &l.cfg.Admin
	a.Listen = "127.0.0.1:8422"
	at := cmp.Or(n, root)
	if n != nil {
		failed := len(l.problems)
		l.fields(n, fields{
			"listen":           func(n *node) { at = n; l.adminListen(n, &a.Listen) },
			"hosts":            func(n *node) { l.aside(func() { l.adminHosts(n, &a.Hosts) }) },
			"tokens":           func(n *node) { l.aside(func() { l.adminTokens(n, &a.Tokens) }) },
			"tls":              func(n *node) { l.adminTLS(n, &a.TLS) },
			"behind_tls_proxy": func(n *node) { l.aside(func() { l.boolean(n, &a.BehindTLSProxy) }) },
		})
		if len(l.problems) == failed { // else what follows could mislead
			for _, p := range a.Problems() {
				l.aside(func() { l.errorf(at, "%s", p.Message) })
			}
		}
	}
	own := listeners(a.Listen)
	if slices.ContainsFunc(own, func(addr netip.AddrPort) bool { return slices.Contains(l.own, addr) }) {
		l.aside(func() {
			l.errorf(cmp.Or(n, root), "the listeners of admin and of nats.embedded are at the same address: choose another port for one of them")
		})
	}
	l.own = append(l.own, own...)
}

// adminListen reads an address; what it needs besides, the settings as a whole
// say.
func (l *loader) adminListen(n *node, v *string) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	_, portText, err := net.SplitHostPort(text)
	if err != nil {
		l.errorf(n, "must be host:port, such as 127.0.0.1:8422, not %s", quote(text))
		return
	}
	if port, err := strconv.Atoi(portText); err != nil || port < 0 || port > 65535 {
		l.errorf(n, "has a port that is not from 1 to 65535 (0: any free one)")
		return
	}
	*v = text
}

var hostText = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

func (l *loader) adminHosts(n *node, hosts *[]string) {
	l.texts(n, func(item *node, text string) {
		if _, err := netip.ParseAddr(text); err != nil && !hostText.MatchString(text) {
			l.errorf(item, "must be a name or an address without a port, such as fanjet.example.com, not %s", quote(text))
			return
		}
		*hosts = append(*hosts, strings.ToLower(text))
	})
}

func (l *loader) adminTokens(n *node, tokens *[]admin.Token) {
	names := make(map[string]*node)
	places := make(map[string]*node) // by reference
	for _, item := range l.list(n) {
		var t admin.Token
		failed := len(l.problems)
		l.fields(item, fields{
			"name": func(n *node) {
				text, ok := l.text(n)
				if !ok {
					return
				}
				if err := admin.CheckName(text); err != nil {
					l.errorf(n, "%v", err)
				} else if before := names[text]; before != nil {
					l.errorf(n, "is the name of another token, at %s: each has its own, by which the audit knows it", before.place())
				}
				names[text] = n
				t.Name = text
			},
			"token": func(n *node) {
				text, ok := l.text(n)
				if !ok {
					return
				}
				if before := places[text]; before != nil {
					l.errorf(n, "is the same as that at %s: each token is a secret of its own", before.place())
				}
				places[text] = n
				t.Secret, _ = l.reference(n, text, secretKind{example: "ADMIN_TOKEN", check: admin.CheckToken})
			},
			"scope": func(n *node) {
				scope, _ := l.oneOf(n, string(admin.ScopeRead), string(admin.ScopeOperate), string(admin.ScopeAdmin))
				t.Scope = admin.Scope(scope)
			},
		})
		if len(l.problems) > failed || item.kind != kindMap {
			continue
		}
		for _, key := range []string{"name", "token", "scope"} {
			if item.get(key) == nil {
				l.errorf(item, "%s is missing: a token has a name, a token (env:NAME or file:PATH) and a scope (read, operate or admin)", key)
			}
		}
		for i := range *tokens {
			if !t.Secret.IsZero() && t.Secret.Equal((*tokens)[i].Secret) {
				l.errorf(item, "is the same secret as the token %s: each token is a secret of its own", (*tokens)[i].Name)
			}
		}
		*tokens = append(*tokens, t)
	}
}

func (l *loader) adminTLS(n *node, v *admin.TLS) {
	failed := len(l.problems)
	l.fields(n, fields{
		"cert": func(n *node) { l.file(n, &v.Cert) },
		"key":  func(n *node) { l.file(n, &v.Key) },
	})
	switch {
	case len(l.problems) > failed:
	case (v.Cert == "") != (v.Key == ""):
		l.errorf(n, "cert and key belong together: set both or neither")
	case v.Cert != "" && !l.opts.NoSecrets:
		if _, err := tls.LoadX509KeyPair(v.Cert, v.Key); err != nil {
			l.errorf(n, "the certificate and the key cannot be used: %v", err)
		}
	}
}
