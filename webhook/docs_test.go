package webhook_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The guide for receivers is part of the API: its Go program compiles, and the
// webhook that it gives to check other code with is genuine.
func TestReceiversGuide(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "docs", "receivers.md"))
	if err != nil {
		t.Fatal(err)
	}
	guide := string(text)

	programs := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(guide, -1)
	if len(programs) == 0 {
		t.Error("the guide has no Go program")
	}
	for _, program := range programs {
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(program[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("go vet: %v\n%s\n%s", err, out, program[1])
		}
	}

	v := vectors()[0]
	for _, value := range []string{v.secret, v.id, "1614265330", v.body, v.signature} {
		if !strings.Contains(guide, "| `"+value+"` |") {
			t.Errorf("the webhook to check other code with lacks %s", value)
		}
	}
}
