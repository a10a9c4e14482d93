package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// secretLimit says which secrets the endpoints of an included file may use. It
// is the main file's word about files that others may write.
type secretLimit struct {
	from     *node // the list of patterns
	patterns []secretPattern
}

// secretPattern is one entry of the list: a scheme, and what must follow it.
type secretPattern struct {
	text    string // as it is written
	scheme  string // "env", "file", or "whsec_" and "whsk_" for literals
	pattern string // of [filepath.Match]; of a file: absolute and clean
	// resolved is pattern below the folder that it means when links are
	// followed.
	resolved string
}

// String lists the first patterns, for messages.
func (limit *secretLimit) String() string {
	const most = 5
	var texts []string
	for _, p := range limit.patterns[:min(most, len(limit.patterns))] {
		texts = append(texts, p.text)
	}
	if len(limit.patterns) > most {
		texts = append(texts, "others")
	}
	return strings.Join(texts, ", ")
}

var envPatternText = regexp.MustCompile(`^[A-Za-z0-9_*?]+$`)

// secretLimit reads the list of an entry of include; nil if it cannot be used.
func (l *loader) secretLimit(n *node) *secretLimit {
	limit := &secretLimit{from: n}
	failed := l.fails(func() {
		if len(l.list(n)) == 0 && n.kind == kindList {
			l.errorf(n, `is empty: list what these files may refer to, such as ["env:TEAM_A_*"]`)
		}
		l.texts(n, func(item *node, text string) {
			if p, ok := l.secretPattern(item, text); ok {
				limit.patterns = append(limit.patterns, p)
			}
		})
	})
	if failed {
		return nil
	}
	return limit
}

func (l *loader) secretPattern(n *node, text string) (p secretPattern, ok bool) {
	p.text = text
	scheme, pattern, _ := strings.Cut(text, ":")
	switch {
	case text == "whsec_*" || text == "whsk_*":
		p.scheme = strings.TrimSuffix(text, "*")
		return p, true
	case scheme == "env" && envPatternText.MatchString(pattern):
		p.scheme, p.pattern = scheme, pattern
		return p, true
	case scheme != "file" || pattern == "":
		l.errorf(n, `must be env: with a name or pattern, such as "env:TEAM_A_*", file: with a path or pattern, such as "file:/run/secrets/team-a/*", or "whsec_*" for secrets that are written in the file`)
		return p, false
	}
	p.scheme = scheme
	var err error
	if p.pattern, err = absolute(n, pattern); err == nil {
		_, err = filepath.Match(p.pattern, "")
	}
	if err != nil {
		l.errorf(n, "is not a valid pattern: * and ? stand for parts of a name, [ needs its ]")
		return p, false
	}
	p.resolved = l.resolvedPattern(p.pattern)
	return p, true
}

// resolvedPattern follows the links in the folder of a pattern, as far as that
// is no pattern itself.
func (l *loader) resolvedPattern(pattern string) string {
	folder := filepath.Dir(pattern)
	for strings.ContainsAny(folder, `*?[\`) {
		folder = filepath.Dir(folder)
	}
	target, err := l.files.resolve(folder)
	if err != nil {
		return pattern // there is nothing to be read either
	}
	rest, err := filepath.Rel(folder, pattern)
	if err != nil {
		return pattern
	}
	return filepath.Join(literally(withoutVersions(target)), rest)
}

// literally makes a path a pattern that matches only itself.
func literally(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

// absolute is a path of the file that n is in, from the root and without "..".
func absolute(n *node, path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	dir, err := filepath.Abs(n.source.dir)
	if err != nil {
		return "", err
	}
	return filepath.Join(literally(dir), path), nil
}

// allows reports whether the endpoints of an included file may use what item,
// wherever it stands, refers to. Nothing is limited where there is no limit.
func (l *loader) allows(limit *secretLimit, item *node) bool {
	if limit == nil {
		return true
	}
	scheme, name, _ := strings.Cut(item.text, ":")
	return slices.ContainsFunc(limit.patterns, func(p secretPattern) bool {
		switch {
		case p.scheme == "whsec_" || p.scheme == "whsk_":
			return strings.HasPrefix(item.text, p.scheme)
		case p.scheme != scheme:
			return false
		case scheme == "env":
			return fits(p.pattern, name)
		default:
			return l.allowsFile(p, item, name)
		}
	})
}

// allowsFile compares whole paths, as they are written and as they are when
// links are followed: neither ".." nor a link leads out of the pattern.
func (l *loader) allowsFile(p secretPattern, item *node, name string) bool {
	path, err := filepath.Abs(relative(item, name))
	if err != nil || !fits(p.pattern, path) {
		return false
	}
	if l.opts.NoSecrets {
		return true
	}
	target, err := l.files.resolve(path)
	if err != nil {
		return true // it cannot be read either, which is reported
	}
	return fits(p.resolved, withoutVersions(target))
}

// withoutVersions removes the folders of a path whose names begin with two
// dots. Kubernetes keeps the files of a mounted secret in one, which is
// replaced as a whole, and has links that lead into it.
func withoutVersions(path string) string {
	parts := strings.Split(path, string(filepath.Separator))
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return strings.HasPrefix(part, "..") }), string(filepath.Separator))
}

func fits(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return ok && err == nil
}

// limited reports at n what endpoints of its file may not use.
func (l *loader) limited(n, item *node) bool {
	limit := n.source.limit
	if l.allows(limit, item) {
		return false
	}
	what := "endpoints of this file may not use this secret"
	if n != item {
		what = "endpoints of this file may not use the secrets of defaults, which it has"
	}
	l.errorf(n, "%s: %s allows them only %s", what, limit.from.place(), limit)
	return true
}

// limitedDefaults reports an endpoint that would get secrets from the defaults
// which its file may not use.
func (l *loader) limitedDefaults(key *node) {
	if key.source.limit == nil || l.defaultsNode == nil || l.defaultsFailed {
		return
	}
	list := l.defaultsNode.get("secrets")
	if list == nil {
		return
	}
	for _, item := range list.items {
		if l.limited(key, item) {
			return
		}
	}
}
