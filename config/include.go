package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxIncluded bounds the number of included files.
const maxIncluded = 1000

// include opens the files that the main one includes and returns the sections
// of each. A file that several patterns name, or several paths lead to, is
// included once, and the main one never, so that a pattern may cover its folder.
func (l *loader) include(root, n *node) []map[string]*node {
	if n == nil {
		return nil
	}
	var parts []map[string]*node
	main := l.identify(root.source.name, inclusion{})
	var seen []includedFile
	for _, item := range l.list(n) {
		now, ok := l.inclusion(item)
		if !ok {
			l.incomplete = true
			continue
		}
		for _, path := range l.matches(now.files) {
			file := l.identify(path, now)
			again := slices.IndexFunc(seen, func(f includedFile) bool { return f.same(&file) })
			if again >= 0 || file.same(&main) {
				// A link may lead elsewhere one day: who watches must know of it.
				_, _ = l.files.read(path)
			}
			switch {
			case file.same(&main):
				continue
			case again >= 0 && seen[again].from.files != now.files && (seen[again].from.limit != nil || now.limit != nil):
				l.errorf(now.files, "%s is already included at %s: where secrets are limited, only one entry may name a file", path, seen[again].from.files.place())
				l.incomplete = true
				continue
			case again >= 0:
				continue
			}
			if seen = append(seen, file); len(seen) >= maxIncluded {
				l.errorf(item, "more than %d files: use fewer, larger ones", maxIncluded)
				return parts
			}
			included := l.open(path, now.files)
			if included == nil {
				l.incomplete = true
				continue
			}
			included.source.limit = now.limit
			parts = append(parts, l.includedSections(included))
		}
	}
	return parts
}

// inclusion is an entry of include.
type inclusion struct {
	files *node        // a file, or a pattern of several
	limit *secretLimit // nil: none
}

// inclusion reads an entry: a pattern, or a map of one and the secrets that
// those files may use. It is not ok when files or their limits are not known.
func (l *loader) inclusion(n *node) (in inclusion, ok bool) {
	if n.kind != kindMap {
		return inclusion{files: n}, true
	}
	failed := l.fails(func() {
		l.fields(n, fields{
			"files":   func(n *node) { in.files = n },
			"secrets": func(n *node) { in.limit = l.secretLimit(n) },
		})
		if n.get("files") == nil {
			l.errorf(n, "files is missing: add the file or the pattern that is limited")
		}
		if n.get("secrets") == nil {
			l.errorf(n, `secrets is missing: list what these files may refer to, or write the pattern alone, such as "teams/*.yaml"`)
		}
	})
	return in, !failed
}

// includedSections reads the top level of an included file.
func (l *loader) includedSections(root *node) map[string]*node {
	for i, p := range root.pairs {
		if slices.Contains(mainKeys, p.key.text) && !slices.Contains(includedKeys, p.key.text) {
			l.errorf(p.key, "belongs in the main file: an included one has only endpoints and subscriptions")
			root.pairs[i].key = nil
		}
	}
	root.pairs = slices.DeleteFunc(root.pairs, func(p pair) bool { return p.key == nil })
	return l.sections(root, includedKeys)
}

// matches returns the files that an entry names, in order of names.
func (l *loader) matches(n *node) []string {
	text, ok := l.text(n)
	if !ok {
		return nil
	}
	if text == "" {
		l.errorf(n, "is empty: remove it")
		return nil
	}
	if !strings.ContainsAny(text, `*?[\`) {
		return []string{relative(n, text)} // a file that is missing is reported when it is opened
	}
	pattern := filepath.Clean(text)
	if !filepath.IsAbs(text) {
		// The folder itself is no pattern.
		pattern = filepath.Join(literally(n.source.dir), text)
	}
	paths, err := l.files.glob(pattern)
	if err != nil {
		l.errorf(n, "is not a valid pattern: * and ? stand for parts of a name, [ needs its ]")
		return nil
	}
	if len(paths) == 0 {
		l.warnf(n, "matches no file")
	}
	slices.Sort(paths)
	return paths
}
