package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Only what is measured is of the other build: it is this program again, behind
// a script that keeps its arguments.
func TestBuildRunsTheGatewayOfAnotherProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	program, said := filepath.Join(folder, "bench"), filepath.Join(folder, "said")
	script := "#!/bin/sh\necho \"$1 $2\" >>'" + said + "'\nexec '" + self + "' \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	s := small()
	p, err := drainPair(t.Context(), drainSetup{setup: s, Fanout: 2, Endpoints: 2, Against: program}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.Bare.total() != 0 || p.Fanjet.total() != 0 || p.Bare.PerSecond <= 0 || p.Fanjet.PerSecond <= 0 {
		t.Errorf("%+v", p)
	}
	if text, err := os.ReadFile(said); err != nil || string(text) != "child gateway\n" {
		t.Errorf("the other program ran as %q, %v; want one gateway", text, err)
	}
	s.Build = filepath.Join(folder, "none")
	if _, err := drain(t.Context(), gatewayKind, s, evenPlan(1, 1, 8)); err == nil {
		t.Error("a program that is not there was measured")
	}
}
