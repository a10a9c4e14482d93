package config

import (
	"reflect"

	"fanjet/subscriber/endpoint"
)

// Declared says in which file something stands, for people. Its zero value knows
// nothing.
type Declared struct {
	Main          string            // the main file
	Endpoints     map[string]string // by name: the file
	Subscriptions map[string]string
	// Defaults says that the defaults of endpoints changed, which are in the main
	// file; only of [Changes].
	Defaults bool

	defaults *endpoint.Settings // what they are
}

// declaredIn notes in which files endpoints and subscriptions stand.
func (l *loader) declaredIn(main string) Declared {
	files := func(of map[string]*node) map[string]string {
		in := make(map[string]string, len(of))
		for name, n := range of {
			in[name] = n.source.name
		}
		return in
	}
	defaults := l.defaults // a copy, which does not hold on to all that was read
	return Declared{Main: main, Endpoints: files(l.declared), Subscriptions: files(l.named), defaults: &defaults}
}

// of returns where stands what changed: where it stands now or, if it was removed,
// where it stood.
func (d Declared) of(c *Changes, before Declared) Declared {
	where := func(names Names, now, once map[string]string) map[string]string {
		if names.None() || now == nil && once == nil {
			return nil
		}
		in := make(map[string]string)
		for _, list := range [...][]string{names.Added, names.Changed} {
			for _, name := range list {
				in[name] = now[name]
			}
		}
		for _, name := range names.Removed {
			in[name] = once[name]
		}
		return in
	}
	return Declared{
		Main:          d.Main,
		Endpoints:     where(c.Endpoints, d.Endpoints, before.Endpoints),
		Subscriptions: where(c.Subscriptions, d.Subscriptions, before.Subscriptions),
		Defaults:      before.defaults != nil && d.defaults != nil && !reflect.DeepEqual(before.defaults, d.defaults),
	}
}
