package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// This program is built like a release, so it holds nothing of what lets a test
// build kill itself: not the variable, not the points, not the code. What is
// looked for is put together here, so that it is not in the program for that.
func TestReleaseHasNoFailpoints(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, parts := range [][]string{{"FANJET", "FAILPOINT"}, {"fanout", "partly"}, {"matcher", "replaced"}, {"internal/failpoint", "Hit"}} {
		for _, between := range []string{"_", "-", "."} {
			if trace := strings.Join(parts, between); bytes.Contains(program, []byte(trace)) {
				t.Errorf("the program contains %q", trace)
			}
		}
	}
	if known := strings.Join([]string{"fanjet", "gateway"}, "/"); !bytes.Contains(program, []byte(known)) {
		t.Errorf("the program does not even contain %q: this test looks in the wrong place", known)
	}
}
