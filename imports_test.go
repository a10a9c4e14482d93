// Package fanjet_test checks the module as a whole.
package fanjet_test

import (
	"errors"
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed says which of our packages each of our packages may import, tests
// apart. "internal/..." stands for everything below internal, "..." for all.
//
// The direction is what keeps the parts apart: only gateway and subscriber know
// both NATS and HTTP; who uses a setting owns it, and config composes; webhook
// can be used by receivers that know nothing of Fanjet.
var allowed = map[string][]string{
	"bench":            {"..."},
	"cmd/fanjet":       {"..."},
	"examples/...":     {"..."},
	"gateway":          {"admin", "config", "subscriber", "subscriber/...", "dlq", "gateway/match", "gateway/overdue", "gateway/source", "gateway/topology", "webhook", "internal/..."},
	"gateway/source":   {"config", "dlq", "gateway/match", "gateway/topology", "subscriber", "internal/..."},
	"gateway/topology": {"config", "internal/broker", "internal/jsapi", "internal/wire"},
	"gateway/match":    {"internal/wire"},
	"gateway/overdue":  {"internal/jsapi", "internal/servertime", "internal/wire"},
	"config": {
		"admin", "subscriber/egress", "subscriber/endpoint", "gateway/match",
		"internal/broker", "internal/secret", "internal/slip", "internal/wire",
	},
	"subscriber": {"subscriber/...", "dlq", "internal/..."},
	"subscriber/attempt": {
		"subscriber/egress", "subscriber/endpoint", "subscriber/httpsend", "subscriber/outcome", "webhook",
		"internal/failpoint", "internal/wire",
	},
	"subscriber/httpsend": {
		"subscriber/egress", "subscriber/endpoint", "subscriber/outcome", "subscriber/quiet", "internal/failpoint",
	},
	"subscriber/lanes":    {"internal/intake", "internal/jsapi", "internal/state", "internal/wire"},
	"subscriber/gate":     {"subscriber/endpoint", "subscriber/outcome"},
	"subscriber/endpoint": {"subscriber/egress", "webhook", "internal/secret"},
	"subscriber/outcome":  {"subscriber/egress"},
	"subscriber/egress":   {"subscriber/quiet", "internal/secret"},
	"subscriber/quiet":    {},
	"dlq":                 {"internal/failpoint", "internal/jsapi", "internal/publish", "internal/wire"},
	"webhook":             {},
	"admin":               {"subscriber/endpoint", "dlq", "internal/..."},
	"internal/...":        {"internal/..."},
	// It judges the others, so it learns nothing from them.
	"internal/ledger": {},
	"chaos":           {},
	// What operators do, for the command line and the HTTP API.
	"internal/control": {"subscriber/endpoint", "subscriber/outcome", "dlq", "internal/..."},
	"internal/state":   {"subscriber/endpoint", "internal/jsapi"},
}

func TestImportDirection(t *testing.T) {
	t.Parallel()
	for _, pkg := range packages(t) {
		may, ok := rule(pkg.ImportPath)
		if !ok {
			t.Errorf("%s: no rule says what it may import; add one", pkg.ImportPath)
			continue
		}
		for _, path := range pkg.Imports {
			if path, ours := strings.CutPrefix(path, "fanjet/"); ours && !slices.ContainsFunc(may, covers(path)) {
				t.Errorf("%s imports %s, against the direction of imports", pkg.ImportPath, path)
			}
		}
	}
}

func TestWebhookNeedsOnlyTheStandardLibrary(t *testing.T) {
	t.Parallel()
	for _, pkg := range packages(t) {
		if pkg.ImportPath != "webhook" {
			continue
		}
		for _, path := range pkg.Imports {
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") || first == "fanjet" {
				t.Errorf("webhook imports %s, which is not of the standard library", path)
			}
		}
		return
	}
	t.Error("there is no package webhook")
}

// rule finds the entry of allowed for one of our packages; an exact name wins
// over a pattern.
func rule(path string) (may []string, ok bool) {
	if may, ok = allowed[path]; ok {
		return may, true
	}
	for pattern, may := range allowed {
		if covers(path)(pattern) {
			return may, true
		}
	}
	return nil, false
}

// covers returns whether a pattern stands for path.
func covers(path string) func(pattern string) bool {
	return func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, "...")
		return pattern == path || wild && strings.HasPrefix(path, prefix)
	}
}

// packages lists our packages that have production code, without the module's
// name. It reads the sources itself rather than asking `go list`: go test then
// knows what the result depends on, and does not answer from its cache when an
// import was added.
func packages(t *testing.T) []*build.Package {
	t.Helper()
	var found []*build.Package
	err := filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || dir == "." {
			return err
		}
		if name := entry.Name(); name == "testdata" || name == "tools" || strings.HasPrefix(name, ".") {
			return filepath.SkipDir
		}
		pkg, err := build.ImportDir(dir, 0)
		if _, none := errors.AsType[*build.NoGoError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		if len(pkg.GoFiles) > 0 {
			pkg.ImportPath = filepath.ToSlash(dir)
			found = append(found, pkg)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading our packages: %v", err)
	}
	if len(found) < 5 {
		t.Fatalf("found only %d packages", len(found))
	}
	return found
}
