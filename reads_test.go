package fanjet_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayReadAnywhere are the files that read from JetStream what any replica may
// answer, one that lags behind the others among them, and why that does no harm.
var mayReadAnywhere = map[string]string{
	"cmd/fanjet/doctor_roles.go": "names the right to read so; reads nothing",

	"dlq/direct.go":            "pages of letters: a list misses what came a moment ago, or has what has just gone",
	"internal/audit/read.go":   "pages of records: asked again until what the leader has is there",
	"internal/jsapi/bucket.go": "opens the bucket; its reads are replaced",
}

// What decides something is read from the leader of its stream, by internal/jsapi.
// The reads of nats.go, and direct gets, are answered by any replica.
func TestFewReadWhatMayBeOld(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/natstest/") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		note := func(what string, at token.Pos) {
			found[path] = true
			if _, ok := mayReadAnywhere[path]; !ok {
				t.Errorf("%s: %s may be answered by a replica that lags behind; internal/jsapi asks the leader", fset.Position(at), what)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"KeyValue", "GetMsg", "GetLastMsgForSubject"}, f.Sel.Name) {
					note(f.Sel.Name, f.Sel.Pos())
				}
			case *ast.BasicLit:
				if n.Kind == token.STRING && strings.Contains(n.Value, "DIRECT.GET.") {
					note("a direct get", n.Pos())
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(mayReadAnywhere)) {
		if !found[path] {
			t.Errorf("%s reads nothing of the kind any more: remove it from the list", path)
		}
	}
}
