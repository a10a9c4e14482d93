package config

import (
	"os"
	"path/filepath"
	"strings"
)

// visible returns the files that a pattern matches, without hidden ones: as in a
// shell, a name that begins with a dot is matched only by a pattern that names
// the dot. Such files are not meant: the locks and copies of editors, and what
// Kubernetes keeps behind the files of a mounted ConfigMap, whose content would be
// found a second time.
func visible(pattern string) ([]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	const separator = string(filepath.Separator)
	parts := strings.Split(pattern, separator)
	shown := paths[:0]
	for _, path := range paths {
		if !hidden(parts, strings.Split(path, separator)) {
			shown = append(shown, path)
		}
	}
	return shown, nil
}

// hidden reports whether some part of a path begins with a dot that the pattern,
// which matches it part by part, does not name.
func hidden(pattern, path []string) bool {
	// From the end: at the beginning of a pattern stands the folder that it is
	// relative to.
	for i := 1; i <= min(len(pattern), len(path)); i++ {
		named := strings.TrimPrefix(pattern[len(pattern)-i], `\`)
		if strings.HasPrefix(path[len(path)-i], ".") && !strings.HasPrefix(named, ".") {
			return true
		}
	}
	return false
}

// includedFile is a file that was included, or the main one.
type includedFile struct {
	path string // absolute and clean
	info os.FileInfo
	from inclusion
}

// identify finds out which file a path leads to, through links; a file that is
// not there is told by its path alone.
func (l *loader) identify(path string, from inclusion) includedFile {
	f := includedFile{path: filepath.Clean(path), from: from}
	if abs, err := filepath.Abs(path); err == nil {
		f.path = abs
	}
	if l.files.stat != nil {
		if info, err := l.files.stat(path); err == nil {
			f.info = info
		}
	}
	return f
}

// same reports whether two are one file, whatever the spelling of their paths and
// the links that lead to it, hard ones too.
func (f *includedFile) same(other *includedFile) bool {
	return f.path == other.path || f.info != nil && other.info != nil && os.SameFile(f.info, other.info)
}
