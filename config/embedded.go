package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"fanjet/admin"
	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/internal/secret"
)

// Bounds of the users of the embedded server.
const (
	maxUsers       = 1000
	minPassword    = 16 // characters
	maxUserPublish = 100
)

// userPassword is what a user of the embedded server proves itself with.
func userPassword() secretKind {
	return secretKind{
		example: "SHOP_PASSWORD",
		want:    "env:NAME, file:PATH, or a bcrypt hash: a password does not belong in this file",
		check: func(value string) error {
			if len(value) < minPassword {
				return fmt.Errorf("it has fewer than %d characters: `fanjet secret new` prints one that is long enough", minPassword)
			}
			return nil
		},
	}
}

// embeddedNodes is where settings of the embedded server are that are checked
// once the others are known.
type embeddedNodes struct {
	listen, anonymous *node
	publish           []sourceSubject // of all users
}

func (l *loader) embedded(n *node, s *broker.Embedded) {
	at := &l.embeddedAt
	var anonymous *bool
	l.fields(n, fields{
		"store_dir": func(n *node) {
			if text, ok := l.text(n); ok && text == "" {
				l.errorf(n, "is empty: name the folder that keeps the streams")
			} else if ok {
				s.StoreDir = l.storeDir(n, text)
			}
		},
		"listen":     func(n *node) { at.listen = n; l.listenAddress(n, &s.Listen) },
		"durability": func(n *node) { l.aside(func() { l.durability(n, &s.SyncInterval) }) },
		"anonymous": func(n *node) {
			at.anonymous = n
			anonymous = new(bool)
			l.boolean(n, anonymous)
		},
		"users": func(n *node) { l.aside(func() { l.users(n, s) }) },
		"tls":   func(n *node) { l.natsTLS(n, &s.TLS) },
	})
	s.Anonymous = len(s.Users) == 0
	if anonymous != nil {
		s.Anonymous = *anonymous
	}
	l.aside(func() { l.reachable(n, s) })
}

// reachable checks that only who may reaches the server.
func (l *loader) reachable(n *node, s *broker.Embedded) {
	if s.TLS.CA != "" && s.TLS.Cert == "" {
		l.errorf(n.get("tls"), "cert and key are needed, too: ca is only for the certificates of clients")
	}
	if onLoopback(s.Listen) {
		return
	}
	users := n.get("users")
	switch at := l.embeddedAt; {
	case n.get("tls") == nil || users == nil || len(users.items) == 0:
		l.errorf(at.listen, "%s can be reached from other machines, which takes both users and tls: set nats.embedded.users and nats.embedded.tls, or listen on 127.0.0.1", s.Listen)
	case s.Anonymous && at.anonymous != nil: // else there is a mistake in the users
		l.errorf(at.anonymous, "must be false where other machines can connect (listen: %s)", s.Listen)
	}
}

func (l *loader) users(n *node, s *broker.Embedded) {
	items := l.list(n)
	if len(items) > maxUsers {
		l.errorf(n, "has %d users; at most %d are allowed", len(items), maxUsers)
		return
	}
	names, keys := make(map[string]*node), make(map[string]*node)
	for _, item := range items {
		s.Users = append(s.Users, l.user(item, names, keys))
	}
}

func (l *loader) user(n *node, names, keys map[string]*node) broker.User {
	u := broker.User{Role: broker.Producer}
	var publish *node
	l.fields(n, fields{
		"name": func(n *node) {
			text, ok := l.text(n)
			switch before := names[text]; {
			case !ok:
			case admin.CheckName(text) != nil:
				l.errorf(n, "must be 1 to 63 letters, digits, dots, dashes and underscores, not %s", quote(text))
			case before != nil:
				l.errorf(n, "%s is already a user at %s", text, before.place())
			default:
				u.Name, names[text] = text, n
			}
		},
		"password": func(n *node) {
			switch text, ok := l.text(n); {
			case !ok:
			case broker.IsPasswordHash(text):
				u.Password = secret.New(text)
			default:
				u.Password, _ = l.reference(n, text, userPassword())
			}
		},
		"nkey": func(n *node) { l.nkey(n, &u.Nkey, keys) },
		"role": func(n *node) {
			if text, ok := l.oneOf(n, string(broker.Producer), string(broker.Operator)); ok {
				u.Role = broker.Role(text)
			}
		},
		"publish": func(n *node) { publish = n; u.Publish = l.publish(n) },
	})
	if n.kind != kindMap {
		return u
	}
	if n.get("name") == nil {
		l.errorf(n, "name is missing: name the user")
	}
	if (n.get("password") == nil) == (n.get("nkey") == nil) {
		l.errorf(n, "needs a password or an nkey, and not both")
	}
	if u.Role == broker.Operator && publish != nil {
		l.errorf(publish, "is for producers: an operator may do everything")
	}
	return u
}

func (l *loader) nkey(n *node, v *string, keys map[string]*node) {
	text, ok := l.text(n)
	if !ok {
		return
	}
	// Never repeated: it may be the seed.
	if err := broker.CheckNkey(text); err != nil {
		l.errorf(n, "%v; `fanjet secret nkey` makes a pair", err)
	} else if before := keys[text]; before != nil {
		l.errorf(n, "is the key of another user, at %s", before.place())
	} else {
		*v, keys[text] = text, n
	}
}

// publish reads the subjects that one producer may publish to.
func (l *loader) publish(n *node) []string {
	var subjects []string
	if n.kind == kindList && len(n.items) == 0 {
		l.errorf(n, "is empty: name subjects, or leave publish out for all that the sources have")
	}
	if len(n.items) > maxUserPublish {
		l.errorf(n, "has %d subjects; at most %d are allowed", len(n.items), maxUserPublish)
		return nil
	}
	l.texts(n, func(item *node, text string) {
		if err := match.CheckSubject(text); err != nil {
			l.errorf(item, "%v", err)
			return
		}
		// An event that two of them cover would be stored twice.
		if i := slices.IndexFunc(subjects, func(other string) bool { return server.SubjectsCollide(text, other) }); i >= 0 {
			l.errorf(item, "overlaps %s in the same list: remove one of them", subjects[i])
			return
		}
		subjects = append(subjects, text)
		l.embeddedAt.publish = append(l.embeddedAt.publish, sourceSubject{text: text, at: item})
	})
	return subjects
}

// producers tells the embedded server what producers may publish to. It comes
// after the sources.
func (l *loader) producers(sources *node) {
	s := &l.cfg.NATS
	for i, source := range l.cfg.Sources {
		s.Embedded.Subjects = append(s.Embedded.Subjects, source.Subjects...)
		if s.URL == "" && len(source.Subjects) == 0 && sources != nil && !l.sourcesFailed {
			l.warnf(sources.items[i], "names no subjects: only operators can publish to this stream in the embedded server")
		}
	}
	if l.sourcesFailed {
		return
	}
	for _, subject := range l.embeddedAt.publish {
		if !slices.ContainsFunc(s.Embedded.Subjects, func(of string) bool { return within(subject.text, of) }) {
			l.errorf(subject.at, "%s is not within a subject of a source: name one of sources[].subjects, or a part of one", subject.text)
		}
	}
}

// within reports whether every subject that one pattern matches is matched by
// the other.
func within(pattern, of string) bool {
	tokens := strings.Split(pattern, ".")
	outer := strings.Split(of, ".")
	for i, token := range outer {
		switch {
		case token == ">":
			return len(tokens) > i
		case i >= len(tokens) || tokens[i] == ">":
			return false
		case token != "*" && token != tokens[i]:
			return false
		}
	}
	return len(tokens) == len(outer)
}

// listenAddress reads the address of the embedded server.
func (d *decoder) listenAddress(n *node, v *string) {
	text, ok := d.text(n)
	if !ok {
		return
	}
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		d.errorf(n, "must be host:port, such as 127.0.0.1:4222, not %s", quote(text))
		return
	}
	// -1 is how NATS asks for a free port, 0 how everybody else does.
	if port, err := strconv.Atoi(portText); err != nil || port < -1 || port > 65535 {
		d.errorf(n, "has a port that is not from 1 to 65535 (0: any free one)")
		return
	}
	if ip, err := netip.ParseAddr(host); host != "" && !strings.EqualFold(host, "localhost") && (err != nil || ip.Zone() != "") {
		d.errorf(n, "must have an address of this machine before the port, such as 127.0.0.1:%s, not a name", portText)
		return
	}
	*v = text
}

func onLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}
