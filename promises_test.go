package fanjet_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promises are what Fanjet promises of deliveries, in short; docs/reliability.md has
// them in full. The code that keeps one says so in a comment, "Promise 1: …", and so
// does a test of it.
var promises = map[string]string{
	"1": "an accepted event is, for each endpoint that matches, delivered, pending or dead-lettered",
	"2": "at least once: without a fault once, and a duplicate has the same webhook-id",
	"3": "the trouble of one endpoint changes nothing for the others",
	"4": "what we break ourselves burns no attempt",
	"5": "the bytes that were published are those that are sent and signed",
}

var promise = regexp.MustCompile(`(?m)^\s*// Promise (\d+): \S`)

func TestPromisesHaveKeepers(t *testing.T) {
	t.Parallel()
	kept, tested := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || path == "promises_test.go":
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range promise.FindAllSubmatch(text, -1) {
			number := string(found[1])
			if promises[number] == "" {
				t.Errorf("%s: there is no promise %s", path, number)
			}
			if strings.HasSuffix(path, "_test.go") {
				tested[number] = true
			} else {
				kept[number] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for number, text := range promises {
		if !kept[number] {
			t.Errorf("no code says that it keeps promise %s: %s", number, text)
		}
		if !tested[number] {
			t.Errorf("no test says that it tests promise %s: %s", number, text)
		}
	}
}
