package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/config"
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

// readData reads a body as --data names it: DATA, @FILE, or - for the standard input.
func (g *globals) readData(data string) ([]byte, error) {
	path, isFile := strings.CutPrefix(data, "@")
	if data == "-" {
		path, isFile = "-", true
	}
	if !isFile {
		return []byte(data), nil
	}
	body, err := g.readFile(path)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return body, nil
}

// fileName is what looks like the name of a file, and is no body that anybody would
// write on a command line.
var fileName = regexp.MustCompile(`^[^\s"'{}\[\]<>]*(/[^\s"'{}\[\]<>]*|\.[A-Za-z][A-Za-z0-9]{0,9})$`)

// readDataOrFile is [globals.readData] for a command whose --data was the name of a
// file at first: one that exists is read. What looks like the name of one and is none
// is a mistake more likely than a body.
func (g *globals) readDataOrFile(data string) ([]byte, error) {
	if data == "" || data == "-" || strings.HasPrefix(data, "@") {
		return g.readData(data)
	}
	body, err := os.ReadFile(data)
	switch _, missing := os.Stat(data); {
	case err == nil:
		return body, nil
	case missing == nil:
		return nil, fmt.Errorf("--data: %w", err)
	case fileName.MatchString(data):
		return nil, fmt.Errorf("--data: there is no file %q; a body that is in no file is piped in with --data -", data)
	}
	return g.readData(data)
}

// warnUnreadable says which subscriptions need the body of an event and cannot read
// it, as far as the configuration on this machine tells.
func (g *globals) warnUnreadable(p publication) {
	cfg, err := g.loadConfig(config.Options{NoSecrets: true})
	if err != nil {
		return // whoever runs the gateway hears of it
	}
	matcher, err := cfg.Filters.Matcher(cfg.Subscriptions)
	if err != nil {
		return
	}
	var first string
	var why *match.UnreadableError
	more := -1
	ev := &match.Event{Subject: p.subject, Header: p.header, Data: p.data, Time: time.Now().UTC()}
	matcher.Match(ev, nil, func(subscription string, err error) {
		if unreadable, ok := errors.AsType[*match.UnreadableError](err); ok {
			if more++; more == 0 {
				first, why = subscription, unreadable
			}
		}
	})
	if more < 0 {
		return
	}
	others := ""
	if more > 0 {
		others = fmt.Sprintf(" (and of %s)", counted(more, "more subscription"))
	}
	fmt.Fprintf(g.err, "warning: the filter of the subscription %s%s needs data, but %s; the event will not match it\n", first, others, printable(why.Error()))
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
