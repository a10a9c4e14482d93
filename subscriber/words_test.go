package subscriber

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The words reach the header of a letter, the log and the status as they are.
func TestWordsOfAFailureStayInTheirPlace(t *testing.T) {
	t.Parallel()
	r := outcome.Result{Class: outcome.ClassConnect, Err: errors.New(strings.Repeat(hostileText, 100))}
	var env wire.Envelope
	note(&env, r)
	header := map[string][]string{}
	env.WriteTo(header)
	last := header[wire.HeaderLastError][0]
	if last != r.Failure() {
		t.Errorf("%q, want %q", last, r.Failure())
	}
	if len(last) > outcome.MaxFailure || !utf8.ValidString(last) || strings.ContainsFunc(last, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		t.Errorf("%q", last)
	}
	for _, encoder := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		var out bytes.Buffer
		log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.InfoLevel))
		d := &Dispatcher{opts: Options{ServerTime: time.Now}, log: log, metrics: newMetrics(prometheus.NewRegistry())}
		d.observe(&member{name: "a", metrics: endpointMetrics{all: d.metrics, endpoint: "a"}}, &env, r)
		line := strings.TrimSuffix(out.String(), "\n")
		if !strings.Contains(line, `"class"`) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
			t.Errorf("%q", line)
		}
	}
	if text := r.Short(); len(text) > 200 || !strings.HasPrefix(r.Failure(), strings.TrimSuffix(text, "...")) {
		t.Errorf("the status says %q", text)
	}
}

// The label of the metrics is one of a fixed set, whatever a receiver answers.
func TestClassesAreFew(t *testing.T) {
	t.Parallel()
	m := &endpointMetrics{all: newMetrics(prometheus.NewRegistry()), endpoint: "a"}
	for status := 100; status <= 999; status++ {
		m.attempt(outcome.StatusClass(status)).Inc()
	}
	for _, err := range []error{io.EOF, errors.New(hostileText), errors.New("the receiver refused the stream"), &outcome.HandshakeError{Err: io.EOF}} {
		m.attempt(outcome.ClassOf(err)).Inc() // panics if it is none of them
	}
}

// hostileText is what a receiver would like to have in logs, headers and terminals.
const hostileText = "\r\nFanjet-Reason: x\n{\"level\":\"info\"}\x1b[2J\x1b]0;title\x07\x00\x7f\u009b31m\u202e\u200b\u2028\ufeff\xff\xfe\t"
