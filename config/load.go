package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"fanjet/gateway/match"
	"fanjet/subscriber/endpoint"
)

// Options steer [Load].
type Options struct {
	// LookupEnv finds the variables that "env:NAME" refers to; nil means
	// [os.LookupEnv].
	LookupEnv func(name string) (value string, ok bool)
	// NoSecrets leaves secrets, credentials and certificates that the file only
	// refers to unread, for checks on a machine that does not have them. The
	// endpoints of the result then lack those secrets: it must not be run.
	NoSecrets bool
	// Connects reads what a client of NATS needs to connect, in spite of NoSecrets.
	Connects bool
	// NATS, if not empty, takes the place of nats.url.
	NATS string
	// DataDir, if not empty, is what a relative nats.embedded.store_dir is relative to,
	// in place of the folder of its file.
	DataDir string
	// Before is an earlier version of the configuration, whose filters are not
	// compiled again; optional.
	Before *Config
}

// Errors is what [Load] returns for a configuration that cannot be used: all
// that is wrong with it, in the order of files (the main one first) and places.
type Errors struct {
	Problems []Problem // at least one
	Warnings []Problem
}

// Error prints a line for each problem.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// String is "file:line:column: message"; a place that is not known is left out.
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Load reads the configuration in the file path, with everything that it
// includes. When anything is wrong with it the error is an *[Errors]. Neither
// errors nor warnings contain a secret, a URL or the value of a header.
//
// Relative paths in a file are relative to the folder of that file.
func Load(path string, opts Options) (*Config, error) {
	return load(path, opts, fileSystem())
}

// files is the part of a file system that loading needs.
type files struct {
	read func(path string) ([]byte, error)
	glob func(pattern string) ([]string, error)
	stat func(path string) (fs.FileInfo, error) // nil: nothing is known of a file but its path
	// resolve follows the links in a path.
	resolve func(path string) (string, error)
}

// fileSystem is that of this machine.
func fileSystem() files {
	return files{read: readFile, glob: visible, stat: os.Stat, resolve: filepath.EvalSymlinks}
}

// readFile reads a file, but never much more than can be used of it. A named pipe that
// nobody writes to is empty: to wait for a writer would hold up a gateway for ever.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize+1))
}

// loader builds one configuration.
type loader struct {
	decoder
	opts  Options
	files files
	cfg   *Config

	order        map[string]int   // of files, for sorting problems
	own          []netip.AddrPort // the listeners of Fanjet itself
	embeddedAt   embeddedNodes
	defaults     endpoint.Settings
	defaultsNode *node
	sourceNodes  []*node // those of the sources, in their order; none: there is the default only

	declared map[string]*node // endpoints by name: where
	named    map[string]*node // subscriptions by name: where
	used     map[string]bool  // endpoints that a subscription names
	said     map[string]*node // what subscriptions say: where
	guesses  int              // suggestions for unknown endpoints

	// What failed, so that its consequences are not reported too.
	egressFailed, sourcesFailed, defaultsFailed bool

	incomplete bool // an included file could not be read

	root                    *node // the main file; nil if nothing of it can be checked
	natsFailed, adminFailed bool  // where NATS and the listener are is not what is written there
	asides                  int   // problems that leave that right, see aside
}

func load(path string, opts Options, files files) (*Config, error) {
	return newLoader(opts, files).load(path)
}

func newLoader(opts Options, files files) *loader {
	if opts.LookupEnv == nil {
		opts.LookupEnv = os.LookupEnv
	}
	return &loader{
		opts:     opts,
		files:    files,
		cfg:      &Config{Filters: &match.Filters{}},
		order:    make(map[string]int),
		defaults: endpoint.Default(),
		declared: make(map[string]*node),
		named:    make(map[string]*node),
		used:     make(map[string]bool),
		said:     make(map[string]*node),
	}
}

// load reads the configuration; after an error cfg has what could be read of it.
func (l *loader) load(path string) (*Config, error) {
	if l.root = l.open(path, nil); l.root != nil {
		l.document(l.root)
	}
	l.sort(l.problems)
	l.sort(l.warnings)
	if len(l.problems) > 0 {
		return nil, &Errors{Problems: l.problems, Warnings: l.warnings}
	}
	slices.Sort(l.cfg.SecretFiles)
	l.cfg.SecretFiles = slices.Compact(l.cfg.SecretFiles)
	l.cfg.Warnings = l.warnings
	l.cfg.Declared = l.declaredIn(path)
	return l.cfg, nil
}

// open reads and parses a file; nil if nothing of it can be checked. An
// included file that cannot be read is reported at from, its entry.
func (l *loader) open(path string, from *node) *node {
	src := &source{name: path, dir: filepath.Dir(path)}
	l.order[path] = len(l.order)
	data, err := l.files.read(path)
	switch {
	case err != nil && from != nil:
		l.errorf(from, "%s cannot be read: %v", path, reason(err))
		return nil
	case errors.Is(err, fs.ErrNotExist):
		l.errorf(&node{source: src}, "there is no such file: `fanjet init` writes one to start from, --config names another one")
		return nil
	case err != nil:
		l.errorf(&node{source: src}, "the file cannot be read: %v", reason(err))
		return nil
	}
	src.text = string(data)
	root := l.parse(src)
	if root != nil && root.kind != kindMap {
		if root.kind != kindInvalid {
			l.errorf(root, "the file must be a map of settings, not %s", root.kind)
		}
		return nil
	}
	return root
}

// reason is why a file cannot be read, without the path.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err
	}
	if id := os.Getuid(); id >= 0 && errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w for the user %d, which this process runs as", err, id)
	}
	return err
}

// sort puts problems into the order of files and places.
func (l *loader) sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(l.order[a.File], l.order[b.File]),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}

// relative is a path of the file that n is in.
func relative(n *node, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(n.source.dir, path)
}
