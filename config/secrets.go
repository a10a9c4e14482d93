package config

import (
	"regexp"
	"strings"

	"fanjet/internal/secret"
	"fanjet/subscriber"
)

var envNameText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secrets reads a list of references to secrets. Messages name where a secret
// is kept, never any of its text; what is no reference may be one.
func (l *loader) secrets(n *node) []secret.Value {
	switch count := len(n.items); {
	case n.kind == kindList && count == 0:
		l.errorf(n, "is empty: an endpoint needs at least one secret; `fanjet secret new` makes one")
	case count > subscriber.MaxSecrets:
		l.errorf(n, "has %d secrets; at most %d are allowed", count, subscriber.MaxSecrets)
		return nil
	}
	var values []secret.Value
	l.texts(n, func(item *node, text string) {
		if value, ok := l.secret(item, text); ok {
			values = append(values, secret.New(value))
		}
	})
	return values
}

// secret resolves one reference.
func (l *loader) secret(n *node, text string) (value string, ok bool) {
	scheme, name, _ := strings.Cut(text, ":")
	where := ""
	switch {
	case scheme == "env":
		if !envNameText.MatchString(name) {
			l.errorf(n, "must name an environment variable behind env:, such as env:BILLING_SECRET")
			return "", false
		}
		if l.opts.NoSecrets {
			return "", false
		}
		if value, ok = l.opts.LookupEnv(name); !ok || value == "" {
			l.errorf(n, "the environment variable %s is not set: set it, or use check --no-secrets where it is not needed", name)
			return "", false
		}
		where = "the secret in the environment variable " + name + ": "
	case scheme == "file":
		if name == "" {
			l.errorf(n, "must name a file behind file:, such as file:/run/secrets/billing")
			return "", false
		}
		if l.opts.NoSecrets {
			return "", false
		}
		path := relative(n, name)
		data, err := l.files.read(path)
		if err != nil {
			l.errorf(n, "the file %s cannot be read: %v", path, reason(err))
			return "", false
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
		where = "the secret in the file " + path + ": "
	case strings.HasPrefix(text, "whsec_"), strings.HasPrefix(text, "whsk_"):
		l.warnf(n, "a secret is written in the file: keep it elsewhere and refer to it with env:NAME or file:PATH")
		value = text
	default:
		l.errorf(n, "must be env:NAME, file:PATH, or a secret that begins with whsec_ or whsk_")
		return "", false
	}
	if err := subscriber.CheckSecret(value); err != nil {
		l.errorf(n, "%s%v", where, err)
		return "", false
	}
	return value, true
}
