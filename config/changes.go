package config

import (
	"reflect"
	"slices"

	"fanjet/admin"
	"fanjet/gateway/match"
	"fanjet/subscriber/endpoint"
)

// Changes are what tells one configuration from another.
type Changes struct {
	Endpoints     Names
	Subscriptions Names
	Egress        bool
	Admin         bool // tokens, hosts, or where the certificate is
	// Restart are the keys of what a running gateway cannot change.
	Restart []string
	// Declared says in which files that stands.
	Declared Declared
}

// Names are what was added, removed and changed, each in order of names.
type Names struct{ Added, Removed, Changed []string }

// None reports whether there are none.
func (n Names) None() bool { return len(n.Added)+len(n.Removed)+len(n.Changed) == 0 }

// None reports whether a running gateway has nothing to change.
func (c Changes) None() bool {
	return c.Endpoints.None() && c.Subscriptions.None() && !c.Egress && !c.Admin
}

// Compare tells what has changed from one configuration to another. The order
// of subscriptions means nothing.
func Compare(before, after *Config) Changes {
	changes := Changes{
		Endpoints:     compare(before.Endpoints, after.Endpoints, func(e *endpoint.Settings) string { return e.Name }),
		Subscriptions: compare(before.Subscriptions, after.Subscriptions, func(s *match.Subscription) string { return s.Name }),
		Egress:        !reflect.DeepEqual(before.Egress, after.Egress),
		Admin:         adminChanges(before.Admin, after.Admin),
		Restart:       fixed(before, after),
	}
	changes.Declared = after.Declared.of(&changes, before.Declared)
	return changes
}

// adminChanges reports whether something changes that the listener can change
// while it runs.
func adminChanges(before, after Admin) bool {
	none := admin.TLS{}
	return !reflect.DeepEqual(before.Hosts, after.Hosts) || !reflect.DeepEqual(before.Tokens, after.Tokens) ||
		before.TLS != none && after.TLS != none && before.TLS != after.TLS
}

// compare compares two lists of things that have a unique name.
func compare[T any](before, after []T, name func(*T) string) Names {
	var names Names
	known := make(map[string]*T, len(before))
	for i := range before {
		known[name(&before[i])] = &before[i]
	}
	for i := range after {
		now := &after[i]
		switch old := known[name(now)]; {
		case old == nil:
			names.Added = append(names.Added, name(now))
		case !reflect.DeepEqual(old, now):
			names.Changed = append(names.Changed, name(now))
		}
		delete(known, name(now))
	}
	for name := range known {
		names.Removed = append(names.Removed, name)
	}
	slices.Sort(names.Added)
	slices.Sort(names.Removed)
	slices.Sort(names.Changed)
	return names
}

// fixed names the keys that differ and that a running gateway cannot change.
func fixed(before, after *Config) []string {
	embedded := before.NATS.URL == "" && after.NATS.URL == ""
	a, b := before.NATS, after.NATS
	var keys []string
	for _, setting := range []struct {
		key  string
		same bool
	}{
		{"nats.url", a.URL == b.URL},
		{"nats.prefix", a.Prefix == b.Prefix},
		{"nats.embedded.store_dir", !embedded || a.Embedded.StoreDir == b.Embedded.StoreDir},
		{"nats.embedded.listen", !embedded || a.Embedded.Listen == b.Embedded.Listen},
		{"nats.embedded.durability", !embedded || a.Embedded.SyncInterval == b.Embedded.SyncInterval},
		{"nats.embedded.anonymous", !embedded || a.Embedded.Anonymous == b.Embedded.Anonymous},
		{"nats.embedded.users", !embedded || reflect.DeepEqual(a.Embedded.Users, b.Embedded.Users)},
		{"nats.embedded.tls", !embedded || a.Embedded.TLS == b.Embedded.TLS},
		{"nats.domain", a.Domain == b.Domain},
		{"nats.credentials", a.Credentials == b.Credentials},
		{"nats.user", a.User.Equal(b.User)},
		{"nats.password", a.Password.Equal(b.Password)},
		{"nats.tls", a.TLS == b.TLS},
		{"nats.replicas", a.Replicas == b.Replicas},
		{"sources", reflect.DeepEqual(before.Sources, after.Sources) && (!embedded || slices.Equal(a.Embedded.Subjects, b.Embedded.Subjects))},
		{"admin.listen", before.Admin.Listen == after.Admin.Listen},
		{"admin.tls", (before.Admin.TLS == admin.TLS{}) == (after.Admin.TLS == admin.TLS{})},
		{"admin.behind_tls_proxy", before.Admin.BehindTLSProxy == after.Admin.BehindTLSProxy},
		{"delivery", before.Delivery == after.Delivery},
		{"dead_letters", before.DeadLetters == after.DeadLetters},
		{"canary", before.Canary == after.Canary},
	} {
		if !setting.same {
			keys = append(keys, setting.key)
		}
	}
	return keys
}
