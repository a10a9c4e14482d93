package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"fanjet/gateway/match"
)

// checkEventSubject refuses what no event can be published on.
func checkEventSubject(subject string) error {
	if err := match.CheckSubject(subject); err != nil {
		return usageError{err}
	}
	if strings.ContainsAny(subject, "*>") {
		return usagef("subject %q has a wildcard; an event is published on one subject", subject)
	}
	return nil
}

// parseHeaders reads the values of --header: NAME=VALUE.
func parseHeaders(pairs []string) (nats.Header, error) {
	h := nats.Header{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok:
			return nil, usagef("--header %q is not NAME=VALUE", pair)
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }):
			return nil, usagef("--header %q: %q cannot be the name of a NATS header", pair, name)
		case strings.ContainsAny(value, "\r\n"):
			return nil, usagef("--header %s: the value has a line break", name)
		}
		// Not Add: NATS looks headers up as they are spelt.
		h[name] = append(h[name], value)
	}
	return h, nil
}

// readFile reads a file, or the standard input if path is "-".
func (g *globals) readFile(path string) ([]byte, error) {
	if path != "-" {
		return os.ReadFile(path)
	}
	data, err := io.ReadAll(g.in)
	if err != nil {
		return nil, fmt.Errorf("read the standard input: %w", err)
	}
	return data, nil
}
