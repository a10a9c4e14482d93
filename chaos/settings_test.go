package chaos

import (
	"fmt"
	"slices"
	"strings"
)

// dimension is something in which configurations may differ, with nothing that is
// promised depending on it. The first value is the default of the test.
type dimension struct {
	name   string
	values []string
}

// dimensions are all of them. There is no setting for lanes: what fills them is set.
func dimensions() []dimension {
	return []dimension{
		{"nats", []string{"embedded", "server", "shared"}}, // shared: two gateways
		{"durability", []string{"fsync", "50ms"}},
		{"ordered", []string{"off", "on"}},
		{"lanes", []string{"off", "on"}},
		{"circuit", []string{"off", "on"}},
		{"inflight", []string{"32", "1", "4"}},
		{"publish", []string{"one", "many"}},
		{"match", []string{"subjects", "filter"}},
		{"retry", []string{"even", "growing"}},
		{"direct", []string{"on", "off"}},
	}
}

// set returns what a plan sets in a dimension.
func (p plan) set(name string) string {
	for _, s := range p.settings {
		if s.dimension == name {
			return s.value
		}
	}
	all := dimensions()
	return all[slices.IndexFunc(all, func(d dimension) bool { return d.name == name })].values[0]
}

// yaml is the configuration, without what all gateways have in common. A reload
// goes from one edition to the next.
func (p plan) yaml(edition int) string {
	var b strings.Builder
	b.WriteString("endpoints:\n")
	for _, name := range p.endpoints {
		fmt.Fprintf(&b, "  %s: {url: \"http://HOOK/%s\", dead_letter_on: [410, 422], %s}\n", name, name, p.endpoint(name, edition))
	}
	fmt.Fprintf(&b, "  edition-%d: {url: \"http://HOOK/edition\"}\n", edition)
	b.WriteString("subscriptions:\n")
	for _, name := range p.endpoints {
		subject, filter := "events.>", fmt.Sprintf("%q in data.to", name)
		if p.set("match") == "subjects" {
			subject, filter = subjectOf(func(endpoint string) string {
				if endpoint == name {
					return "yes"
				}
				return "*"
			}), ""
		}
		fmt.Fprintf(&b, "  - {name: %s, subjects: [%q], filter: '%s', endpoints: [%s]}\n", name, subject, filter, name)
	}
	fmt.Fprintf(&b, "  - {name: edition, subjects: [events.edition], endpoints: [edition-%d]}\n", edition)
	return b.String()
}

// endpoint are the settings of an endpoint.
func (p plan) endpoint(name string, edition int) string {
	inflight := p.set("inflight")
	var out []string
	if name == "line" && p.set("ordered") == "on" {
		out = append(out, "ordered: true")
	}
	if name == "slow" && p.set("lanes") == "on" {
		inflight = "1"
		out = append(out, "rate_limit: 20/s")
	}
	if edition%2 == 1 {
		inflight = "2"
	}
	circuit := "{failures: 0}"
	if p.set("circuit") == "on" {
		circuit = "{failures: 3, probe: 50ms, max_probe: 200ms}"
	}
	schedule := "[30ms, 30ms, 30ms, 30ms, 30ms, 30ms]"
	if p.set("retry") == "growing" {
		schedule = "[10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms]"
	}
	return strings.Join(append(out, "max_in_flight: "+inflight, "circuit: "+circuit, "retry: {schedule: "+schedule+"}"), ", ")
}

// subjectOf is a subject with a token for every endpoint.
func subjectOf(token func(endpoint string) string) string {
	out := []string{"events"}
	for _, endpoint := range allEndpoints() {
		out = append(out, token(endpoint))
	}
	return strings.Join(out, ".")
}
