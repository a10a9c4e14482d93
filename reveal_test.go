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

// mayReveal are the files that take a secret out of the type that hides it, and
// what for. Whoever adds one answers for it that the text goes nowhere else.
var mayReveal = map[string]string{
	"admin/tokens.go":                    "hashes tokens",
	"internal/broker/credentials.go":     "names a gateway or a command to a NATS server",
	"internal/broker/users.go":           "compares the passwords of clients of the embedded server",
	"subscriber/egress/proxy.go":         "names the gateway to the proxy",
	"subscriber/attempt/target.go":       "signs requests",
	"subscriber/endpoint/weak_secret.go": "tells doctor what can be guessed",
}

func TestSecretsAreRevealedInFewPlaces(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == "internal/secret/secret.go" {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if use, ok := n.(*ast.SelectorExpr); ok && use.Sel.Name == "Reveal" {
				found[path] = true
				if _, ok := mayReveal[path]; !ok {
					t.Errorf("%s reveals a secret", fset.Position(use.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(mayReveal)) {
		if !found[path] {
			t.Errorf("%s reveals no secret any more: remove it from the list", path)
		}
	}
}
