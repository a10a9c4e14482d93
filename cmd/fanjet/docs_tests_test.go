package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the documents say is tested has a test of that name.
func TestDocumentsNameTests(t *testing.T) {
	t.Parallel()
	declared := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, found := range function.FindAllSubmatch(code, -1) {
			declared[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for path, text := range documents(t) {
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(text, -1) {
			named++
			if !declared[name[1]] {
				t.Errorf("%s names %s, and there is no such test", path, name[1])
			}
		}
	}
	if named < 60 {
		t.Errorf("only %d tests are named", named)
	}
	// Every row of the faults names one.
	faults, err := os.ReadFile(filepath.Join(repository, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(faults), "\n## Faults\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| fault |") {
			continue
		}
		rows++
		if !strings.Contains(line, "`Test") {
			t.Errorf("docs/reliability.md: no test is named for: %s", line)
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows of faults", rows)
	}
}

// What is said to be fixed has a test that holds it, in every row of the record of
// chaos/README.md. [TestDocumentsNameTests] says that there is such a test.
func TestTrackRecordNamesTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(repository, "chaos", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Track record\n")
	table, _, _ = strings.Cut(table, "\n## ")
	held, rows := regexp.MustCompile("\\| `(?:Test|Fuzz)[A-Z]\\w+` \\|\n$"), 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| defect |") {
			continue
		}
		rows++
		if !held.MatchString(line) {
			t.Errorf("chaos/README.md: no test holds: %s", line)
		}
	}
	if rows < 20 {
		t.Errorf("only %d rows", rows)
	}
}
