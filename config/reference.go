package config

import (
	"fmt"
	"regexp"
	"strings"

	"fanjet/internal/secret"
)

var envNameText = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secretKind is a kind of secret: how it may be written, and what is a good one.
type secretKind struct {
	// example is a variable that could keep it, for messages.
	example string
	// literal reports whether text is such a secret, written in the file itself,
	// which is allowed with a warning; nil: only references are.
	literal func(text string) bool
	// want says what may stand there, for messages; empty: "env:NAME or file:PATH".
	want string
	// check says what is wrong with a secret, without any of its text; nil:
	// nothing can be but that it is empty.
	check func(value string) error
}

// reference resolves what stands for a secret: env:NAME, file:PATH, or the
// secret itself where the kind allows that. Problems are reported at n; their
// messages name where a secret is kept, never any of its text, and nothing of
// what is no reference, as that may be one. It is not ok either when secrets
// are not to be read ([Options.NoSecrets]).
//
// It is the one way from the file to a secret: whatever a configuration keeps
// secret goes through it.
func (l *loader) reference(n *node, text string, kind secretKind) (value secret.Value, ok bool) {
	if l.limited(n, n) {
		return secret.Value{}, false // before anything is looked up
	}
	var read func() (string, error)
	where := ""
	scheme, name, _ := strings.Cut(text, ":")
	switch {
	case scheme == "env":
		if !envNameText.MatchString(name) {
			l.errorf(n, "must name an environment variable behind env:, such as env:%s", kind.example)
			return secret.Value{}, false
		}
		read = func() (string, error) { return l.fromEnv(name) }
		where = "the secret in the environment variable " + name + ": "
	case scheme == "file":
		if name == "" {
			l.errorf(n, "must name a file behind file:, such as file:/run/secrets/%s", strings.ToLower(kind.example))
			return secret.Value{}, false
		}
		path := relative(n, name)
		read = func() (string, error) { return l.fromFile(path) }
		where = "the secret in the file " + path + ": "
	case kind.literal != nil && kind.literal(text):
		l.warnf(n, "a secret is written in the file: keep it elsewhere and refer to it with env:NAME or file:PATH")
		read = func() (string, error) { return text, nil }
	default:
		l.errorf(n, "must be %s", kind.wanted())
		return secret.Value{}, false
	}
	if where != "" && l.opts.NoSecrets {
		return secret.Value{}, false
	}
	found, err := read()
	if err != nil {
		l.errorf(n, "%v", err)
		return secret.Value{}, false
	}
	if err := kind.wrong(found); err != nil {
		l.errorf(n, "%s%v", where, err)
		return secret.Value{}, false
	}
	return secret.New(found), true
}

func (k secretKind) wanted() string {
	if k.want == "" {
		return "env:NAME or file:PATH: a secret does not belong in this file"
	}
	return k.want
}

func (k secretKind) wrong(value string) error {
	if k.check == nil {
		return nil
	}
	return k.check(value)
}

func (l *loader) fromEnv(name string) (string, error) {
	value, ok := l.opts.LookupEnv(name)
	if !ok || value == "" {
		return "", fmt.Errorf("the environment variable %s is not set: set it, or use check --no-secrets where it is not needed", name)
	}
	return value, nil
}

// fromFile reads a secret from a file. The end of its line is not part of it.
func (l *loader) fromFile(path string) (string, error) {
	l.cfg.SecretFiles = append(l.cfg.SecretFiles, path)
	data, err := l.files.read(path)
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", path, reason(err))
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("the file %s is empty: write the secret into it", path)
	}
	return value, nil
}
