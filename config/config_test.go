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
)

var update = flag.Bool("update", false, "write the golden file of the bad configurations")

// sharedSecret is a good one: the first test vector of the README of webhook.
const sharedSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// environment is what env: finds in tests.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"GOOD":  sharedSecret,
		"OLD":   "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"KEY":   "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		"SHORT": "whsec_c2hvcnQ=",
		"BARE":  strings.TrimPrefix(sharedSecret, "whsec_"),
		"EMPTY": "",
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
		"size":       {strings.Repeat(" ", maxFileSize+1), "larger than 2 MiB"},
		"flow lists": {strings.Repeat("[", 50_000), "nested deeper than 32 levels"},
		"flow maps":  {strings.Repeat("{a: ", 50_000), "nested deeper than 32 levels"},
		"lists":      {strings.Repeat("- ", 50_000), "nested deeper than 32 levels"},
		"keys":       {strings.Repeat("? ", 50_000), "nested deeper than 32 levels"},
		"anchors":    {strings.Repeat("&a ", 50_000), "nested deeper than 32 levels"},
		"tags":       {strings.Repeat("!a ", 50_000), "nested deeper than 32 levels"},
		"map":        {"version: 1\nendpoints:\n" + strings.Repeat("  a:\n", maxMapKeys+1), "more than 10000 keys in one map"},
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
	var b strings.Builder
	b.WriteString("version: 1\nendpoints:\n")
	const endpoints = 1000
	for i := range endpoints {
		fmt.Fprintf(&b, "  e%d:\n    url: https://e%d.example.com/hooks\n    secrets: [env:GOOD]\n", i, i)
	}
	b.WriteString("subscriptions:\n")
	for i := range endpoints {
		fmt.Fprintf(&b, "  - {name: s%d, subjects: [\"events.e%d.>\"], filter: data.n > %d, endpoints: [e%d]}\n", i, i, i, i)
	}
	cfg, err := Load(write(t, b.String()), Options{LookupEnv: environment})
	if err != nil || len(cfg.Endpoints) != endpoints || len(cfg.Subscriptions) != endpoints || len(cfg.Warnings) > 0 {
		t.Fatalf("Load: %.500v", err)
	}

	b.Reset()
	for i := range 500 {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	if _, err := Load(write(t, b.String()), Options{}); err == nil {
		t.Error("a tower of maps was accepted")
	}
}
