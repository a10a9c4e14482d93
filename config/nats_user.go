package config

import (
	"strings"

	"fanjet/internal/secret"
)

// natsUser reads the name of a user of NATS, or where it is kept.
func (l *loader) natsUser(n *node, v *secret.Value) {
	text, ok := l.text(n)
	switch scheme, _, _ := strings.Cut(text, ":"); {
	case !ok || text == "":
	case scheme == "env", scheme == "file":
		*v, _ = l.natsReference(n, text, "NATS_USER")
	default:
		*v = secret.New(text)
	}
}

// natsPassword reads where the password of a user of NATS is kept, or the password.
func (l *loader) natsPassword(n *node, v *secret.Value) {
	if text, ok := l.text(n); ok && text != "" {
		*v, _ = l.natsReference(n, text, "NATS_PASSWORD")
	}
}

// natsReference is reference for what a command needs that only connects to NATS.
func (l *loader) natsReference(n *node, text, example string) (value secret.Value, ok bool) {
	unread := l.opts.NoSecrets
	defer func() { l.opts.NoSecrets = unread }()
	l.opts.NoSecrets = unread && !l.opts.Connects
	l.aside(func() {
		value, ok = l.reference(n, text, secretKind{example: example, literal: func(string) bool { return true }, want: "env:NAME or file:PATH"})
	})
	return value, ok
}

// oneUser refuses a user without a password, and two users.
func (l *loader) oneUser(n *node) {
	if n == nil || n.kind != kindMap {
		return
	}
	set := func(key string) bool { v := n.get(key); return v != nil && v.kind == kindScalar && v.text != "" }
	switch {
	case set("user") != set("password"):
		l.errorf(n, "user and password belong together: set both or neither")
	case set("user") && set("credentials"):
		l.errorf(n.get("user"), "nats.credentials names a user already: remove one of them")
	case set("user") && set("url") && strings.Contains(n.get("url").text, "@"):
		l.errorf(n.get("user"), "nats.url names a user already: remove one of them")
	}
}
