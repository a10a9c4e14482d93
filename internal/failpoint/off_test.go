package failpoint_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// Without the tag nothing but names and an empty function is compiled.
func TestReleaseBuildIsEmpty(t *testing.T) {
	t.Parallel()
	release := build.Default
	release.BuildTags = nil
	pkg, err := release.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"off.go", "points.go"}; !slices.Equal(pkg.GoFiles, want) || len(pkg.Imports) > 0 {
		t.Errorf("a release build has %v and imports %v, want %v and nothing", pkg.GoFiles, pkg.Imports, want)
	}
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && len(f.Body.List) > 0 {
				t.Errorf("%s: %s does something", name, f.Name)
			}
		}
	}
}
