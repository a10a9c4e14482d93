package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	g := &globals{streams: streams{err: &out}, logLevel: "warn", logFormat: "auto"}
	log := g.logger().Named("part")
	log.Info("not this")
	log.Error("told", zap.Duration("took", 1500*time.Millisecond))

	// What is no terminal gets JSON, a line for each entry.
	var line struct {
		Time   time.Time
		Level  string
		Logger string
		Msg    string
		Took   float64
		Stack  string `json:"stacktrace"`
	}
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line.Level != "error" || line.Logger != "part" || line.Msg != "told" || line.Took != 1.5 || line.Time.IsZero() || line.Stack != "" {
		t.Errorf("the line is %s", out.String())
	}
}

func TestLoggerForPeople(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	g := &globals{streams: streams{err: &out}, logLevel: "debug", logFormat: "console"}
	g.logger().Debug("told", zap.String("endpoint", "billing"))
	fields := strings.Split(strings.TrimSpace(out.String()), "  ")
	if len(fields) != 4 || fields[1] != "DEBUG" || fields[2] != "told" || fields[3] != `{"endpoint": "billing"}` {
		t.Errorf("the line is %q", out.String())
	}
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, stream := range map[string]any{"the null device": null, "a file": file, "a buffer": &strings.Builder{}} {
		if isTerminal(stream) {
			t.Errorf("%s is taken for a terminal", name)
		}
	}
}
