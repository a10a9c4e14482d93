package config

import (
	"cmp"
	"slices"
	"strings"

	"fanjet/subscriber/endpoint"
)

// keys of the main file, and those that an included file may have.
var (
	mainKeys = []string{
		"version", "nats", "sources", "admin", "delivery", "dead_letters", "canary", "egress", "defaults", "endpoints",
		"subscriptions", "include",
	}
	includedKeys = []string{"endpoints", "subscriptions"}
)

// document reads the main file. What others refer to comes first, whatever the
// order in the file.
func (l *loader) document(root *node) {
	section := l.sections(root, mainKeys)
	l.version(root, section["version"])
	l.natsFailed = l.misleads(func() { l.nats(root, section["nats"]) })
	l.sourcesFailed = l.fails(func() { l.sources(section["sources"]) })
	l.producers(section["sources"])
	l.adminFailed = l.misleads(func() { l.admin(root, section["admin"]) })
	l.delivery(section["delivery"])
	l.deadLetters(section["dead_letters"])
	l.canary(section["canary"])
	l.egressFailed = l.fails(func() { l.egress(section["egress"]) })
	if l.defaultsNode = section["defaults"]; l.defaultsNode != nil {
		l.defaultsFailed = l.fails(func() { l.settings(l.defaultsNode, &l.defaults) })
	}
	parts := append([]map[string]*node{section}, l.include(root, section["include"])...)
	for _, part := range parts {
		l.endpoints(part["endpoints"])
	}
	for _, part := range parts {
		l.subscriptions(part["subscriptions"])
	}
	l.missing(root)
	l.sameURL()
	slices.SortFunc(l.cfg.Endpoints, func(a, b endpoint.Settings) int { return cmp.Compare(a.Name, b.Name) })
}

// fails reports whether read finds a problem.
func (l *loader) fails(read func()) bool {
	before := len(l.problems)
	read()
	return len(l.problems) > before
}

// sections returns the values of the top-level keys of a file.
func (l *loader) sections(root *node, keys []string) map[string]*node {
	section := make(map[string]*node, len(keys))
	known := make(fields, len(keys))
	for _, key := range keys {
		known[key] = func(n *node) { section[key] = n }
	}
	l.fields(root, known)
	return section
}

func (l *loader) version(root, n *node) {
	switch {
	case n == nil:
		l.errorf(root, "version is missing: add the line `version: 1`")
	case l.is(n, kindScalar) && (n.quoted || n.text != "1"):
		l.errorf(n, "must be 1, the version that this program reads, not %s", shown(n))
	}
}

// missing warns about a configuration, otherwise right, that does nothing.
func (l *loader) missing(root *node) {
	if len(l.problems) > 0 {
		return
	}
	if len(l.declared) == 0 {
		l.warnf(root, "no endpoints: nothing will be delivered")
	}
	if len(l.named) == 0 {
		l.warnf(root, "no subscriptions: nothing will be delivered")
		return
	}
	l.unread()
	for name, n := range l.declared {
		if !l.used[name] {
			l.warnf(n, "no subscription names this endpoint: it gets nothing")
		}
	}
}

// notYet refuses a setting of a feature that is not built yet, unless it is
// empty.
func (d *decoder) notYet(n *node) {
	empty := n.kind == kindScalar && strings.TrimSpace(n.text) == "" ||
		n.kind == kindList && len(n.items) == 0 ||
		n.kind == kindMap && len(n.pairs) == 0
	if !empty && n.kind != kindInvalid {
		d.errorf(n, "is not available yet: leave it out")
	}
}
