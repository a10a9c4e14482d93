package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fanjet/internal/broker"
)

// benchSecret signs everything that Fanjet delivers here.
const (
	benchSecretName = "FANJET_BENCH_SECRET"
	benchSecret     = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// How the receiver treats an endpoint, by the first part of the path.
const (
	behaveOK   = "ok"
	behaveHang = "hang" // accepts the request and never answers
	behave500  = "500"
	behaveDrip = "drip" // sends its answer one byte at a time, and is never done
	behaveSlow = "slow" // answers 200, so late that 32 at once do not suffice for 20 events a second
	behaveBody = "body" // answers 200 at once, and drips the body
)

// target is an endpoint of a benchmark.
type target struct {
	Name    string
	Subject int    // index of the subject that it subscribed to
	Behaves string // one of those above
}

// plan says which subjects there are and which endpoints subscribed to them.
type plan struct {
	Subjects    int
	Targets     []target
	MaxInFlight int           // of each endpoint
	Timeout     time.Duration // of an attempt; 0: the default
}

// defaultInFlight is the max_in_flight of an endpoint that sets none.
const defaultInFlight = 32

// evenPlan has fanout endpoints for each of some subjects. A single endpoint
// may have as many requests in flight as the bare loop; many have the default.
func evenPlan(subjects, fanout, inFlight int) plan {
	p := plan{Subjects: subjects, MaxInFlight: max(defaultInFlight, inFlight/(subjects*fanout))}
	for j := range subjects {
		for i := range fanout {
			p.Targets = append(p.Targets, target{Name: fmt.Sprintf("s%d-%d", j, i), Subject: j, Behaves: behaveOK})
		}
	}
	return p
}

// healthy counts the endpoints that behave, for each subject.
func (p plan) healthy() []int {
	count := make([]int, p.Subjects)
	for _, t := range p.Targets {
		if t.Behaves == behaveOK {
			count[t.Subject]++
		}
	}
	return count
}

func subject(j int) string { return fmt.Sprint("events.s", j) }

// writeConfig writes what `fanjet serve` would run with.
func (p plan) writeConfig(dir string, s setup, natsURL, sink string) (path string, err error) {
	var b strings.Builder
	b.WriteString("version: 1\nnats:\n")
	if natsURL != "" {
		fmt.Fprintf(&b, "  url: %q\n  credentials: %q\n", natsURL, filepath.Join(storeDir(dir), broker.OperatorKeyName))
	}
	fmt.Fprintf(&b, "  embedded: {store_dir: %q, listen: \"127.0.0.1:-1\", durability: %s}\n", storeDir(dir), s.Tier)
	if s.LogOnly {
		b.WriteString("delivery: {direct: false}\n") // a build that has no such setting need not read it otherwise
	}
	b.WriteString("admin: {listen: \"127.0.0.1:0\"}\n")
	b.WriteString("egress: {allow_http: true, allow_cidrs: [\"127.0.0.0/8\"]}\n")
	fmt.Fprintf(&b, "defaults: {max_in_flight: %d", p.MaxInFlight)
	if p.Timeout > 0 {
		fmt.Fprintf(&b, ", timeout: %s", p.Timeout)
	}
	b.WriteString("}\nendpoints:\n")
	for _, t := range p.Targets {
		fmt.Fprintf(&b, "  %s: {url: %q, secrets: [\"env:%s\"]}\n", t.Name, sink+"/"+t.Behaves+"/"+t.Name, benchSecretName)
	}
	b.WriteString("subscriptions:\n")
	for _, t := range p.Targets {
		fmt.Fprintf(&b, "  - {name: %s, subjects: [%s], endpoints: [%s]}\n", t.Name, subject(t.Subject), t.Name)
	}
	path = filepath.Join(dir, "fanjet.yaml")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}
