package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

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

// Text of an event, such as its subject, does not steer the terminal of somebody
// who reads the log, and stays what it is for a program.
func TestLogSteersNoTerminal(t *testing.T) {
	t.Parallel()
	const hostile = "events.\x1b[31m\x07\u009b31m\x7f\u202egnp\u2028\U000e0001é日😀\xff\n"
	for _, format := range []string{"json", "console"} {
		var out strings.Builder
		g := &globals{streams: streams{err: &out}, logLevel: "info", logFormat: format}
		g.logger().Info("attempt", zap.String("subject", hostile))
		if line, ok := strings.CutSuffix(out.String(), "\n"); !ok || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }) {
			t.Errorf("%s: %q", format, out.String())
		}
		fields := out.String()
		if format == "console" { // they come last
			fields = fields[strings.Index(fields, "{"):]
		}
		var read struct{ Subject string }
		if err := json.Unmarshal([]byte(fields), &read); err != nil || read.Subject != strings.ToValidUTF8(hostile, "\ufffd") {
			t.Errorf("%s: %v: %q", format, err, read.Subject)
		}
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
