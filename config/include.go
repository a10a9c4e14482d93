package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxIncluded bounds the number of included files.
const maxIncluded = 1000

// include opens the files that the main one includes and returns the sections
// of each. A file that several patterns name is included once, and the main one
// never, so that a pattern may cover its folder.
func (l *loader) include(root, n *node) []map[string]*node {
	if n == nil {
		return nil
	}
	var parts []map[string]*node
	seen := map[string]bool{filepath.Clean(root.source.name): true}
	for _, item := range l.list(n) {
		if item.kind == kindMap {
			l.errorf(item, `an entry with files and secrets is not available yet: write the pattern alone, such as "teams/*.yaml"`)
			l.incomplete = true
			continue
		}
		for _, path := range l.matches(item) {
			if seen[path] {
				continue
			}
			if seen[path] = true; len(seen) > maxIncluded {
				l.errorf(item, "more than %d files: use fewer, larger ones", maxIncluded)
				return parts
			}
			included := l.open(path, item)
			if included == nil {
				l.incomplete = true
				continue
			}
			parts = append(parts, l.includedSections(included))
		}
	}
	return parts
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
	pattern := text
	if !filepath.IsAbs(text) {
		// The folder itself is no pattern.
		escape := strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)
		pattern = filepath.Join(escape.Replace(n.source.dir), text)
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
