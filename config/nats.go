package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"fanjet/internal/broker"
	"fanjet/internal/wire"
)

// defaultNATS is the embedded server with everything at its default.
func defaultNATS() broker.Settings {
	return broker.Settings{
		Prefix:   wire.DefaultPrefix,
		Replicas: 1,
		Embedded: broker.Embedded{StoreDir: "fanjet-data", Listen: "127.0.0.1:4222", Anonymous: true},
	}
}

func (l *loader) nats(root, n *node) {
	s := &l.cfg.NATS
	*s = defaultNATS()
	s.Embedded.StoreDir = l.storeDir(root, s.Embedded.StoreDir)
	var urlNode, replicasNode, embeddedNode *node
	var external []*node // what is for servers of others only
	only := func(n *node) *node { external = append(external, n); return n }
	if n != nil {
		l.fields(n, fields{
			"url":         func(n *node) { urlNode = n; l.serverList(n, &s.URL) },
			"prefix":      func(n *node) { l.prefix(n, &s.Prefix) },
			"embedded":    func(n *node) { embeddedNode = n; l.embedded(n, &s.Embedded) },
			"domain":      func(n *node) { l.domain(only(n), &s.Domain) },
			"credentials": func(n *node) { l.file(only(n), &s.Credentials) },
			"user":        func(n *node) { l.natsUser(only(n), &s.User) },
			"password":    func(n *node) { l.natsPassword(only(n), &s.Password) },
			"tls":         func(n *node) { l.natsTLS(only(n), &s.TLS) },
			"replicas":    func(n *node) { replicasNode = n; l.aside(func() { l.replicas(n, &s.Replicas) }) },
		})
	}
	l.oneUser(n)
	if l.opts.NATS != "" {
		s.URL = l.opts.NATS
		if message := checkServers(s.URL); message != "" {
			l.errorf(&node{source: root.source}, "the URL of NATS on the command line or in the environment %s", message)
		}
	}
	// A url that could not be read counts as one: what follows would mislead.
	if s.URL != "" || urlNode != nil && urlNode.text != "" {
		if embeddedNode != nil && len(embeddedNode.pairs) > 0 && urlNode != nil && urlNode.text != "" {
			l.warnf(embeddedNode, "has no effect beside nats.url: the gateway uses the servers there, and starts none; remove one of them")
		}
		l.own = natsServers(s.URL)
		return
	}
	if s.Replicas > 1 {
		l.aside(func() {
			l.errorf(replicasNode, "the embedded server is one server and cannot keep %d replicas: set it to 1, or set nats.url to a cluster", s.Replicas)
		})
	}
	for _, n := range external {
		if n.kind == kindMap && s.TLS != (broker.TLS{}) || n.kind == kindScalar && n.text != "" {
			l.warnf(n, "has no effect on the embedded server: set nats.url, or remove it")
		}
	}
	l.own = listeners(s.Embedded.Listen)
}

// storeDir is the folder that a file names for the streams of the embedded server.
func (l *loader) storeDir(n *node, path string) string {
	if l.opts.DataDir != "" && !filepath.IsAbs(path) {
		return filepath.Join(l.opts.DataDir, path)
	}
	return relative(n, path)
}

// durability reads "fsync", which is an interval of 0, or a sync interval.
func (l *loader) durability(n *node, interval *time.Duration) {
	const least, most = 10 * time.Millisecond, 10 * time.Minute
	text, ok := l.text(n)
	if !ok {
		return
	}
	if text == "fsync" {
		*interval = 0
		return
	}
	value, err := parseDuration(text)
	if err != nil || value < least || value > most {
		l.errorf(n, "must be fsync, or the interval at which writes reach the disk, from %s to %s, not %s",
			formatDuration(least), formatDuration(most), shown(n))
		return
	}
	*interval = value
}

// serverList reads a list of NATS servers that is separated by commas.
func (l *loader) serverList(n *node, list *string) {
	text, ok := l.text(n)
	if !ok || text == "" {
		return
	}
	if message := checkServers(text); message != "" {
		l.errorf(n, "%s", message)
		return
	}
	if strings.Contains(text, "@") {
		l.warnf(n, "contains a password or token: keep it elsewhere, and refer to it in nats.credentials, or nats.user and nats.password")
	}
	*list = text
}

// checkServers says what is wrong with a list of servers, "" if nothing is. It
// never repeats the list, which may contain passwords.
func checkServers(list string) string {
	const want = "write nats://host:port, and commas between several"
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			return "is not a list of NATS servers: " + want
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return "has a scheme that is not nats, tls, ws or wss: " + want
		}
		if text := u.Port(); text != "" {
			if port, err := strconv.ParseUint(text, 10, 16); err != nil || port == 0 {
				return "has a port that is not from 1 to 65535: " + want
			}
		}
	}
	return ""
}

var prefixText = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (l *loader) prefix(n *node, v *string) {
	text, ok := l.text(n)
	if ok && !prefixText.MatchString(text) {
		l.errorf(n, "must be 1 to 32 lower-case letters, digits and dashes, not %s", quote(text))
	} else if ok {
		*v = text
	}
}

func (l *loader) replicas(n *node, v *int) {
	before := len(l.problems)
	l.integer(n, v, 1, 5)
	if len(l.problems) == before && *v%2 == 0 {
		l.errorf(n, "must be 1, 3 or 5, not %d: an even number survives no more failures", *v)
		*v = 1
	}
}

// domain reads the name of a JetStream domain, which is a token of subjects.
func (l *loader) domain(n *node, v *string) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	if len(text) > maxDomain || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(".*>", r) }) {
		l.errorf(n, "must be the name of a JetStream domain: up to %d printable characters without spaces and without . * >, not %s", maxDomain, quote(text))
		return
	}
	*v = text
}

const maxDomain = 255

func (l *loader) natsTLS(n *node, s *broker.TLS) {
	l.fields(n, fields{
		"ca":              func(n *node) { l.file(n, &s.CA) },
		"cert":            func(n *node) { l.file(n, &s.Cert) },
		"key":             func(n *node) { l.file(n, &s.Key) },
		"handshake_first": func(n *node) { l.boolean(n, &s.HandshakeFirst) },
	})
	cert, key := n.get("cert"), n.get("key")
	if (cert == nil || cert.text == "") != (key == nil || key.text == "") {
		l.errorf(n, "cert and key belong together: set both or neither")
	}
}

// file reads the path of a file that must exist; empty means none.
func (l *loader) file(n *node, path *string) {
	text, ok := l.text(n)
	if !ok || text == "" {
		return
	}
	*path = relative(n, text)
	if l.opts.NoSecrets {
		return
	}
	if _, err := l.files.read(*path); err != nil {
		l.errorf(n, "%s cannot be read: %v", filepath.Clean(*path), reason(err))
	}
}

// listeners are the addresses that a listener is at: two for localhost, none
// if its port is not known yet.
func listeners(listen string) []netip.AddrPort {
	host, portText, _ := net.SplitHostPort(listen)
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return nil
	}
	ips := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip.Unmap()}
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip, uint16(port)))
	}
	return addrs
}
