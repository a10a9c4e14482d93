package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDockerfile checks what the image promises.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text, entrypoint := dockerfile(t)
	module, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	goVersion := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindSubmatch(module)[1]
	for _, want := range []string{
		"ARG GO_VERSION=" + string(goVersion) + "\n",
		"CGO_ENABLED=0 go build -trimpath ",
		"\nUSER 65532:65532\n",
		"\nCOPY --from=build /out/fanjet " + entrypoint + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Dockerfile lacks %q", want)
		}
	}
	command := regexp.MustCompile(`(?m)^CMD \["(.+)"\]$`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("Dockerfile has no CMD")
	}
	if err := parseCommandLine(t.Context(), strings.Split(command[1], `", "`), os.LookupEnv); err != nil {
		t.Errorf("CMD: %v", err)
	}
	// The image is built from what .dockerignore lets through.
	ignore, err := os.ReadFile(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(ignore)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			if _, err := os.Stat(filepath.Join(repository, name)); err != nil {
				t.Errorf(".dockerignore: %v", err)
			}
		}
	}
	for _, dir := range packageFolders(t) {
		if !strings.Contains(string(ignore), "\n!"+dir+"\n") {
			t.Errorf(".dockerignore keeps %s out of the build", dir)
		}
	}
}

// dockerfile returns the text of the Dockerfile, and its program.
func dockerfile(t *testing.T) (text, entrypoint string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^ENTRYPOINT \["([^"]+)"\]$`).FindSubmatch(b)
	if match == nil {
		t.Fatal("Dockerfile has no ENTRYPOINT of one program")
	}
	return string(b), string(match[1])
}

// packageFolders lists the top-level folders of what the program is made from.
func packageFolders(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	folders := map[string]bool{}
	for path := range strings.Lines(string(out)) {
		if path, ours := strings.CutPrefix(strings.TrimSpace(path), "fanjet/"); ours {
			top, _, _ := strings.Cut(path, "/")
			folders[top] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}
