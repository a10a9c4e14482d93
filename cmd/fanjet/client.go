package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/internal/runfile"
	"fanjet/internal/wire"
)

// loadClient returns the configuration for a command that runs beside a gateway,
// and the file that it comes from, empty if what it lacks says nothing. It works on
// a machine that has none of the secrets, with a file that has a mistake outside of
// nats, and also where there is no configuration file and none was named: then NATS
// is as it is by default, and there are no endpoints.
//
// A gateway that runs on this machine with this file knows best where NATS is: what
// the file says since then takes effect after a restart.
func (g *globals) loadClient() (cfg *config.Config, file string, err error) {
	cfg, file, warnings, err := g.readClient()
	for _, w := range warnings {
		g.warn("%s", w)
	}
	return cfg, file, err
}

// warn tells of what a command does nevertheless.
func (g *globals) warn(format string, args ...any) {
	fmt.Fprintf(g.err, "fanjet: warning: %s\n", fmt.Sprintf(format, args...))
}

// readClient is loadClient, with what it warns of.
func (g *globals) readClient() (cfg *config.Config, file string, warnings []string, err error) {
	running := runfile.Find(g.config, runfile.Folders())
	if len(running) == 0 && g.hasNoFile() {
		return &config.Config{
			NATS: broker.Settings{
				URL:      g.nats,
				Prefix:   wire.DefaultPrefix,
				Embedded: broker.Embedded{Listen: defaultListen, StoreDir: filepath.Join(g.dataDir, defaultStore)},
			},
			Sources: []config.Source{{Stream: defaultSource}},
		}, "", nil, nil
	}
	c := config.LoadClient(g.config, config.Options{NATS: g.nats, DataDir: g.dataDir})
	if file = g.config; c.Problems != nil {
		file = ""
		warnings = append(warnings, brokenText(g.config, c.Problems))
	}
	switch {
	case len(running) > 0:
		warnings = append(warnings, preferRunning(&c, running[0].NATS, g)...)
	case c.NATSKnown:
	case g.nats == "":
		return nil, "", nil, fmt.Errorf("%w\nwhere NATS is cannot be told: correct the file, or name the server with --nats", c.Problems)
	default:
		warnings = append(warnings, fmt.Sprintf("nats of %s cannot be read; the prefix is taken to be %s", g.config, c.NATS.Prefix))
	}
	return c.Config, file, warnings, nil
}

// hasNoFile reports whether there is no configuration file and none was named.
func (g *globals) hasNoFile() bool {
	_, err := os.Stat(g.config)
	return g.config == defaultConfig && errors.Is(err, fs.ErrNotExist)
}

// brokenText says what is wrong with a file, in one line.
func brokenText(file string, found *config.Errors) string {
	text := fmt.Sprintf("%s cannot be used by a gateway: %v", file, found.Problems[0])
	if more := len(found.Problems) - 1; more > 0 {
		text += fmt.Sprintf(", and %s more", counted(more, "error"))
	}
	return text + "; one that runs goes on with what it has, and none could start (`fanjet check`)"
}

// preferRunning puts what a gateway that runs says of NATS in the place of what the
// file says, and returns what to warn of.
func preferRunning(c *config.Client, running runfile.NATS, g *globals) (warnings []string) {
	file := c.NATS
	if g.nats != "" { // it says where, but not all the rest
		file.URL = running.URL
	}
	written := natsRecord(file)
	if g.nats != "" {
		written.Password = running.Password
	}
	if _, port, _ := net.SplitHostPort(written.Listen); port == "0" || port == "-1" {
		written.Listen = cmp.Or(running.Listen, written.Listen)
	}
	differ := written != running
	if differ && c.NATSKnown {
		warnings = append(warnings, fmt.Sprintf("nats of %s was changed since the gateway started that runs: what it has in use is used", g.config))
	}
	if running.Password && c.NATS.Password.IsZero() && !strings.Contains(c.NATS.URL, "@") {
		warnings = append(warnings, "the gateway that runs connects to NATS with a password, which cannot be read: name the server and the user with --nats")
	}
	s := &c.NATS
	if g.nats == "" && written.URL != running.URL {
		s.URL = running.URL
	}
	s.Prefix, s.Domain = running.Prefix, running.Domain
	s.Embedded.Listen, s.Embedded.StoreDir = cmp.Or(running.Listen, s.Embedded.Listen), cmp.Or(running.StoreDir, s.Embedded.StoreDir)
	s.Embedded.TLS.Cert = running.ServerCert
	s.Credentials = running.Credentials
	s.TLS = broker.TLS{CA: running.CA, Cert: running.Cert, Key: running.Key, HandshakeFirst: running.HandshakeFirst}
	return warnings
}

// natsRecord is what others may know of settings.
func natsRecord(s broker.Settings) runfile.NATS {
	r := runfile.NATS{
		Prefix: s.Prefix, Domain: s.Domain, Credentials: absolute(s.Credentials),
		CA: absolute(s.TLS.CA), Cert: absolute(s.TLS.Cert), Key: absolute(s.TLS.Key), HandshakeFirst: s.TLS.HandshakeFirst,
		Password: !s.Password.IsZero() || strings.Contains(s.URL, "@"),
	}
	if s.URL == "" {
		r.Listen, r.StoreDir, r.ServerCert = s.Embedded.Listen, absolute(s.Embedded.StoreDir), absolute(s.Embedded.TLS.Cert)
		return r
	}
	var servers []string
	for server := range strings.SplitSeq(s.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(server)); err == nil && u.User != nil {
			u.User = nil
			server = u.String()
		} else if at := strings.LastIndexByte(server, '@'); at >= 0 { // without a scheme
			server = server[at+1:]
		}
		servers = append(servers, strings.TrimSpace(server))
	}
	r.URL = strings.Join(servers, ",")
	return r
}

// absolute is a path from the root; empty stays empty.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
