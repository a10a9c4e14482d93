package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/lexer"
)

var update = flag.Bool("update", false, "write the golden file of the bad configurations")

// sharedSecret is a good one: the first test vector of the README of webhook.
const sharedSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// environment is what env: finds in tests.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"GOOD":          sharedSecret,
		"SHORT_TOKEN":   "too-short",
		"OLD":           "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"KEY":           "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		"SHORT":         "whsec_c2hvcnQ=",
		"BARE":          strings.TrimPrefix(sharedSecret, "whsec_"),
		"EMPTY":         "",
		"TEAM_A_SECRET": sharedSecret,
	}[name]
	return value, ok
}

// TestBad loads one file for each mistake and compares all that is said about
// them with one golden file, which can be read from top to bottom as what users
// get to see.
func TestBad(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d bad configurations, error %v; want at least 40", len(paths), err)
	}
	var got bytes.Buffer
	for _, path := range paths {
		cfg, err := Load(path, Options{LookupEnv: environment})
		problems, ok := errors.AsType[*Errors](err)
		if !ok || cfg != nil {
			t.Errorf("%s: Load = %v, %v; want *Errors", path, cfg, err)
			continue
		}
		fmt.Fprintf(&got, "%s\n", problems)
		for _, warning := range problems.Warnings {
			fmt.Fprintf(&got, "warning: %s\n", warning)
		}
		got.WriteByte('\n')
	}
	const golden = "testdata/bad.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for _, line := range gotLines {
		if !slices.Contains(wantLines, line) {
			t.Errorf("not in %s:\n%s", golden, line)
		}
	}
	for _, line := range wantLines {
		if !slices.Contains(gotLines, line) {
			t.Errorf("only in %s:\n%s", golden, line)
		}
	}
	if !t.Failed() && !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s has the same lines in another order", golden)
	}
}

// What would cost the parser too much time or stack is refused before.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"size":       {strings.Repeat(" ", maxFileSize+1), "larger than 16 MiB"},
		"flow lists": {strings.Repeat("[", 50_000), "nested deeper than 32 levels"},
		"flow maps":  {strings.Repeat("{a: ", 50_000), "nested deeper than 32 levels"},
		"lists":      {strings.Repeat("- ", 50_000), "nested deeper than 32 levels"},
		"keys":       {strings.Repeat("? ", 50_000), "nested deeper than 32 levels"},
		"anchors":    {strings.Repeat("&a ", 50_000), "nested deeper than 32 levels"},
		"tags":       {strings.Repeat("!a ", 50_000), "nested deeper than 32 levels"},
		"map":        {"version: 1\nendpoints:\n  a:\n" + strings.Repeat("    b:\n", maxMapKeys+1), "more than 10000 keys in one map"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(write(t, tt.text), Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %.200v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A large configuration loads, and one of nothing but indentation is refused.
func TestLarge(t *testing.T) {
	t.Parallel()
	const n = 2*partEntries + 1
	cfg, err := Load(write(t, string(large(n, true))), Options{LookupEnv: environment})
	if err != nil || len(cfg.Endpoints) != n || len(cfg.Subscriptions) != n || len(cfg.Warnings) > 0 {
		t.Fatalf("Load: %.500v", err)
	}

	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	if _, err := Load(write(t, b.String()), Options{}); err == nil {
		t.Error("a tower of maps was accepted")
	}
}

// Problems in any part of a large file are reported where they are.
func TestLargeWithProblems(t *testing.T) {
	t.Parallel()
	text := string(large(2*partEntries+1, false))
	text = strings.Replace(text, "endpoints: [tenant-00300]", "endpoints: [tenant-0030O]", 1)
	text = strings.Replace(text, "  tenant-00301:\n", "  tenant-00300:\n", 1)
	path := write(t, text)
	_, err := Load(path, Options{LookupEnv: environment})
	place := func(before string) string {
		head, _, _ := strings.Cut(text, before)
		return fmt.Sprintf("%s:%d", path, 1+strings.Count(head, "\n"))
	}
	first, _, _ := strings.Cut(text, "  tenant-00300:")
	second := 1 + strings.Count(first, "\n") + strings.Count("\nurl\nheaders\nmax_in_flight\nretry\nschedule\n", "\n")
	want := []string{
		fmt.Sprintf("%s:%d:3: endpoints.tenant-00300: this endpoint is already declared at %s:3: rename or remove one of them", path, second, place("  tenant-00300:")),
		place("    endpoints: [tenant-0030O]") + `:17: subscriptions[300].endpoints[0]: there is no endpoint "tenant-0030O"; did you mean tenant-00300?`,
		place("    endpoints: [tenant-00301]") + `:17: subscriptions[301].endpoints[0]: there is no endpoint "tenant-00301"; did you mean tenant-00001?`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("Load:\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}

	// What is no YAML any more ends with the first mistake.
	path = write(t, strings.Replace(text, "  tenant-00299:\n", "   tenant-00299:\n", 1))
	if _, err := Load(path, Options{LookupEnv: environment}); err == nil || strings.Count(err.Error(), "\n") > 0 ||
		!strings.Contains(err.Error(), "invalid YAML") {
		t.Errorf("Load: %v", err)
	}
}

// However a file is cut for the parser, what comes out is the same.
func TestParts(t *testing.T) {
	t.Parallel()
	texts := map[string]string{"large": string(large(7, true)), "comments": "# a\n---\n# b\nversion: 1 # c\n# d\nsubscriptions: # e\n# f\n- a # g\n# h\n- b\n"}
	for _, pattern := range []string{"testdata/*/*.yaml", "testdata/*/*/*.yaml", "../examples/*.yaml", "starter.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(data)
		}
	}
	for name, text := range texts {
		whole := parsed(text, 1_000_000)
		for _, size := range []int{1, 2, 3} {
			if got := parsed(text, size); got != whole {
				t.Errorf("%s in parts of %d:\n%s\nwhole:\n%s", name, size, got, whole)
			}
		}
	}
}

// parsed shows what a text becomes that is parsed size entries at a time.
func parsed(text string, size int) string {
	var d decoder
	var b strings.Builder
	root := d.parseTokens(&source{name: "f", text: text}, lexer.Tokenize(text), size)
	if root != nil {
		root.show(&b)
	}
	for _, p := range d.problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

func (n *node) show(b *strings.Builder) {
	place := fmt.Sprintf("%d:%d", n.line, n.column)
	if n.kind == kindNull { // nobody hears where nothing is
		place = ""
	}
	fmt.Fprintf(b, "%s %s %s %q %v\n", place, n.path(), n.kind, n.text, n.quoted)
	for _, item := range n.items {
		item.show(b)
	}
	for _, p := range n.pairs {
		p.key.show(b)
		p.value.show(b)
	}
}
