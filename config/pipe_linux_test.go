package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A named pipe that nobody writes to does not hold up whoever reads the configuration:
// the gateway that looks for changes could not even end.
func TestPipeWithoutAWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fanjet.yaml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, Options{}); err == nil || !strings.Contains(err.Error(), "the file is empty") {
		t.Errorf("Load: %v", err)
	}
	if c := LoadClient(path, Options{}); c.Problems == nil {
		t.Error("LoadClient has nothing to say of a pipe")
	}
}
