package main

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"fanjet/config"
)

// documents returns the text of every Markdown file, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != repository && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found[path] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d documents: %v", len(found), slices.Sorted(maps.Keys(found)))
	}
	return found
}

// source returns the code of packages, tests apart.
func source(t *testing.T, folders ...string) string {
	t.Helper()
	var code strings.Builder
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(file)
			code.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return code.String()
}

func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	links, linked := 0, make(map[string]bool)
	for path, text := range docs {
		for _, link := range linksOf(text) {
			if strings.Contains(link, "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(link, "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
				linked[target] = true
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: link %s: %v", path, link, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchorsOf(docs[target]), anchor) {
				t.Errorf("%s: link %s: there is no such heading", path, link)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links", links)
	}
	for path := range docs {
		if readme := filepath.Join(repository, "README.md"); !linked[path] && path != readme && filepath.Base(path) != "README.md" {
			t.Errorf("nothing links to %s", path)
		}
	}
}

// TestDocumentCommands parses every command line of fanjet in the documents as
// the program does, up to the point where the command would begin to work.
func TestDocumentCommands(t *testing.T) {
	t.Parallel()
	count := 0
	for path, text := range documents(t) {
		for _, block := range blocksOf(text) {
			for _, args := range fanjetLines(block.shell()) {
				count++
				if err := checkArguments(t, args, true); err != nil {
					t.Errorf("%s: fanjet %q: %v", path, args, err)
				}
			}
		}
		for _, span := range spansOf(text) {
			for _, args := range fanjetLines(span) {
				count++
				if err := checkArguments(t, args, false); err != nil {
					t.Errorf("%s: `%s`: %v", path, span, err)
				}
			}
		}
	}
	if count < 60 {
		t.Errorf("only %d command lines", count)
	}
}

// checkArguments reports what is wrong with a command line. One in the middle
// of a sentence may name a command without what it requires.
func checkArguments(t *testing.T, args []string, complete bool) error {
	t.Helper()
	if len(args) > 0 && args[0] == "help" {
		args, complete = args[1:], false
	}
	if !complete {
		cmd, rest, err := newRootCommand(&globals{}).Find(args)
		if err == nil && len(rest) == 0 && !cmd.HasSubCommands() {
			return nil
		}
	}
	return parseCommandLine(t.Context(), args, func(string) (string, bool) { return "", false })
}

func TestReadmeListsEveryCommand(t *testing.T) {
	t.Parallel()
	readme := documents(t)[filepath.Join(repository, "README.md")]
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if !cmd.HasSubCommands() && !strings.Contains(readme, "\n| `"+cmd.CommandPath()+"` |") {
			t.Errorf("the table in README.md lacks `%s`", cmd.CommandPath())
		}
	}
	visit(newRootCommand(&globals{}))
}

func TestDocumentMakeTargets(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	makeLine := regexp.MustCompile("(?m)(?:^|`)make ([a-z]+)")
	for path, text := range documents(t) {
		for _, m := range makeLine.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", path, m[1])
			}
		}
	}
}

// TestDocumentMetrics compares the table of metrics with the code.
func TestDocumentMetrics(t *testing.T) {
	t.Parallel()
	inCode := make(map[string]bool)
	name := regexp.MustCompile(`Name:\s+"(fanjet_[a-z0-9_]+)"`)
	for _, m := range name.FindAllStringSubmatch(source(t, "gateway", "subscriber", "admin", "internal/servertime", "cmd/fanjet"), -1) {
		inCode[m[1]] = true
	}
	if len(inCode) < 15 {
		t.Errorf("only %d metrics in the code", len(inCode))
	}
	docs := documents(t)
	table := docs[filepath.Join(repository, "docs", "operations.md")]
	for metric := range inCode {
		if !regexp.MustCompile("\n\\| `" + metric + "[`{]").MatchString(table) {
			t.Errorf("docs/operations.md lacks %s", metric)
		}
	}
	mention := regexp.MustCompile(`fanjet_[a-z0-9_]+`)
	for path, text := range docs {
		for _, metric := range mention.FindAllString(text, -1) {
			if !inCode[metric] && !inCode[strings.TrimSuffix(metric, "_bucket")] {
				t.Errorf("%s: there is no metric %s", path, metric)
			}
		}
	}
}

// TestDocumentLogs looks for every message of the table of log lines in the code.
func TestDocumentLogs(t *testing.T) {
	t.Parallel()
	code := source(t, "gateway", "subscriber", "admin", "internal/publish", "internal/broker", "internal/servertime", "internal/state", "cmd/fanjet")
	_, logs, _ := strings.Cut(documents(t)[filepath.Join(repository, "docs", "operations.md")], "\n## Logs\n")
	logs, _, _ = strings.Cut(logs, "\n## ")
	messages := 0
	for line := range strings.Lines(logs) {
		cell, _, isRow := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !isRow {
			continue
		}
		for _, message := range spansOf(cell) {
			messages++
			if !strings.Contains(code, `("`+message+`"`) && !strings.Contains(code, `, "`+message+`"`) {
				t.Errorf("docs/operations.md: nothing logs %q", message)
			}
		}
	}
	if messages < 8 {
		t.Errorf("only %d messages", messages)
	}
}

// TestDocumentExamples vets the Go programs, and loads the configurations that
// are whole.
func TestDocumentExamples(t *testing.T) {
	t.Parallel()
	programs, configurations := 0, 0
	for path, text := range documents(t) {
		for _, block := range blocksOf(text) {
			switch {
			case block.language == "go" && strings.HasPrefix(block.text, "package main\n"):
				programs++
				file := filepath.Join(t.TempDir(), "main.go")
				if err := os.WriteFile(file, []byte(block.text), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
					t.Errorf("%s: go vet: %v\n%s", path, err, out)
				}
			case block.language == "yaml" && strings.HasPrefix(block.text, "version:"):
				configurations++
				file := filepath.Join(t.TempDir(), "fanjet.yaml")
				if err := os.WriteFile(file, []byte(block.text), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := config.Load(file, config.Options{NoSecrets: true}); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	}
	if programs < 2 || configurations < 6 {
		t.Errorf("%d programs and %d configurations", programs, configurations)
	}
}
