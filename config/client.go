package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"fanjet/subscriber/endpoint"
)

// Client is as much of a configuration as a command needs that runs beside a
// gateway: the gateway is fine with an earlier version of a file that has a
// mistake now.
type Client struct {
	// Config has what could be read, secrets apart: of a file with a mistake it may
	// be anything from nearly all to nothing but defaults.
	*Config
	// Problems is why a gateway would not take the file; nil: it would, as far as
	// can be told without the secrets.
	Problems *Errors
	// NATSKnown and AdminKnown tell whether what is needed to find NATS and the
	// listener is what is written there. A password that is kept elsewhere and cannot
	// be read is no mistake of theirs, nor is one of users, hosts or tokens.
	NATSKnown, AdminKnown bool
}

// LoadClient reads a configuration for a command that runs beside a gateway. It
// never fails: where the file as a whole cannot be used, it reads the sections
// nats, sources and admin by themselves, also of a file that is no valid YAML. Of
// opts it leaves NoSecrets and Connects aside.
func LoadClient(path string, opts Options) Client {
	return loadClient(path, opts, fileSystem())
}

func loadClient(path string, opts Options, files files) Client {
	opts.NoSecrets, opts.Connects = true, true
	l := newLoader(opts, files)
	cfg, err := l.load(path)
	if err == nil {
		return Client{Config: cfg, NATSKnown: true, AdminKnown: true}
	}
	found := &Errors{Problems: l.problems, Warnings: l.warnings}
	if l.root != nil {
		return Client{l.readable(), found, !l.natsFailed, !l.adminFailed}
	}
	data, err := files.read(path)
	if err != nil {
		alone := newLoader(opts, files)
		alone.sectionsAlone(path, "")
		return Client{Config: alone.readable(), Problems: found}
	}
	alone := newLoader(opts, files)
	nats, admin := alone.sectionsAlone(path, string(data))
	return Client{alone.readable(), found, nats && !alone.natsFailed, admin && !alone.adminFailed}
}

// aside reads what a client does not need to find NATS, or the admin listener.
func (l *loader) aside(read func()) {
	before := len(l.problems)
	read()
	l.asides += len(l.problems) - before
}

// misleads reports whether read finds a problem that is not an aside.
func (l *loader) misleads(read func()) bool {
	problems, asides := len(l.problems), l.asides
	read()
	return len(l.problems)-problems > l.asides-asides
}

// readable is what could be read. An endpoint without an address is none.
func (l *loader) readable() *Config {
	cfg := l.cfg
	cfg.Endpoints = slices.DeleteFunc(cfg.Endpoints, func(e endpoint.Settings) bool { return e.URL == nil })
	return cfg
}

// sectionsAlone reads nats, sources and admin of a file that cannot be parsed as a
// whole, and tells of nats and admin whether they were found or are not there.
func (l *loader) sectionsAlone(path, text string) (nats, admin bool) {
	if len(text) > maxFileSize {
		text = ""
	}
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\r\n", "\n"), "\ufeff")
	root := &node{kind: kindMap, source: &source{name: path, dir: filepath.Dir(path)}, line: 1, column: 1}
	section := func(key string) (n *node, ok bool) {
		part, found := sectionText(text, key)
		if !found {
			return nil, !mentions(text, key)
		}
		parsed := l.parse(&source{name: path, dir: filepath.Dir(path), text: part})
		if parsed == nil || parsed.kind != kindMap {
			return nil, false
		}
		if n = parsed.get(key); n != nil && n.kind == kindNull {
			n = nil
		}
		return n, true
	}
	var n *node
	n, nats = section("nats")
	l.natsFailed = l.misleads(func() { l.nats(root, n) })
	n, _ = section("sources")
	l.sourcesFailed = l.fails(func() { l.sources(n) })
	n, admin = section("admin")
	l.adminFailed = l.misleads(func() { l.admin(root, n) })
	return nats, admin
}

// sectionText returns the text of a section, from its key at the beginning of a
// line to the next key, below as many empty lines as are before it, so that places
// are right; not found if there is none or more than one.
func sectionText(text, key string) (part string, found bool) {
	begins := regexp.MustCompile(`^["']?` + key + `["']?[ \t]*:([ \t]|$)`)
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\n")
		switch {
		case begins.MatchString(bare):
			if found {
				return "", false
			}
			found, inside = true, true
		case bare == "---" || bare == "...", bare != "" && !strings.ContainsRune(" \t#-}]", rune(bare[0])):
			inside = false
		}
		if inside {
			b.WriteString(bare)
		}
		b.WriteByte('\n')
	}
	return b.String(), found
}

// mentions reports whether a text that has no such section may have one in another
// form, such as in a map that is written in braces.
func mentions(text, key string) bool {
	return regexp.MustCompile(`(?m)(^|[\s{,"'])` + key + `["']?[ \t]*:`).MatchString(text)
}
