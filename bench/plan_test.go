package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// Only who asks for it gets the setting, so that builds that do not know it can
// be measured.
func TestDirectIsWrittenWhenItIsSwitchedOff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		flags string
		want  bool // deliveries are direct
	}{{"", true}, {"-direct", true}, {"-direct=true", true}, {"-direct=false", false}} {
		t.Run(test.flags, func(t *testing.T) {
			t.Parallel()
			s := small()
			f := newFlags("drain")
			f.SetOutput(io.Discard)
			f.common(&s, s.Timeout)
			if err := f.parse(strings.Fields(test.flags)); err != nil {
				t.Fatal(err)
			}
			path, err := evenPlan(1, 1, 8).writeConfig(t.TempDir(), s, "", "http://127.0.0.1:1")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if written := strings.Contains(string(text), "delivery:"); written == test.want {
				t.Errorf("%s", text)
			}
		})
	}
}
