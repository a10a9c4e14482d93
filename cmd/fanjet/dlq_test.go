package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"fanjet/dlq"
)

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		want time.Time // zero: an error
	}{
		{"2h", now.Add(-2 * time.Hour)},
		{"90m", now.Add(-90 * time.Minute)},
		{"3d", now.AddDate(0, 0, -3)},
		{"0s", now},
		{"2026-03-01T12:00:00Z", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		{"2026-03-01T12:00:00.5+01:00", time.Date(2026, 3, 1, 11, 0, 0, 5e8, time.UTC)},
		{"-2h", time.Time{}},
		{"-3d", time.Time{}},
		{"d", time.Time{}},
		{"1.5d", time.Time{}},
		{"2026-03-01", time.Time{}},
		{"yesterday", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			got, err := parseTime("since", tt.text, now)
			if tt.want.IsZero() {
				if _, usage := errors.AsType[usageError](err); !usage || !strings.Contains(err.Error(), "--since") {
					t.Errorf("parseTime() = %v, %v, want a usage error that names the flag", got, err)
				}
			} else if err != nil || !got.Equal(tt.want) {
				t.Errorf("parseTime() = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
	if got, err := parseTime("since", "", now); err != nil || !got.IsZero() {
		t.Errorf("parseTime of nothing = %v, %v, want the zero time", got, err)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		"y\n": true, "Y\n": true, "yes\n": true, " yes \r\n": true, "y": true,
		"\n": false, "n\n": false, "yep\n": false, "": false,
	} {
		var out bytes.Buffer
		got, err := ask(t.Context(), strings.NewReader(answer), &out, "Sure?")
		if err != nil || got != want {
			t.Errorf("the answer %q means %v, %v, want %v", answer, got, err, want)
		}
		if out.String() != "Sure? [y/N] " {
			t.Errorf("asked %q", out.String())
		}
	}
}

func TestAskInterrupted(t *testing.T) {
	t.Parallel()
	never, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := ask(ctx, never, io.Discard, "Sure?"); got || !errors.Is(err, context.Canceled) {
		t.Errorf("ask() = %v, %v, want the context's error", got, err)
	}
}

func TestProgressDescribe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		now     dlq.Progress
		elapsed time.Duration
		want    string
	}{
		{"begin", dlq.Progress{}, 0, "0 of 300 letters replayed"},
		{"rate", dlq.Progress{Done: 150}, 3 * time.Second, "150 of 300 letters replayed, 50/s"},
		{"failures", dlq.Progress{Done: 150, Failed: 2}, 3 * time.Second, "150 of 300 letters replayed, 2 failed, 50/s"},
		{"outage", dlq.Progress{Done: 150, Waiting: errors.New("no\x1bway")}, 3 * time.Second, "150 of 300 letters replayed; waiting for NATS: no\uFFFDway"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &progress{verb: "replayed", total: 300}
			if got := p.describe(tt.now, tt.elapsed); got != tt.want {
				t.Errorf("describe() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProgressBar(t *testing.T) {
	t.Parallel()
	for done, want := range map[int]int{0: 0, 29: 2, 150: 15, 300: 30, 400: 30} {
		if got := strings.Count(drawBar(done, 300), "="); got != want {
			t.Errorf("%d of 300 draws %d marks, want %d", done, got, want)
		}
	}
	if got := strings.Count(drawBar(0, 0), "="); got != barWidth {
		t.Errorf("0 of 0 draws %d marks, want all", got)
	}
	var out bytes.Buffer
	p := &progress{w: &out, bar: true, verb: "replayed", total: 2, began: time.Now()}
	p.update(dlq.Progress{Done: 1, Skipped: 1})
	p.end()
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[K["+strings.Repeat("=", barWidth)+"] 1 of 2 letters") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("drew %q", got)
	}
	out.Reset()
	lines := &progress{w: &out, verb: "replayed", total: 2, began: time.Now(), shown: time.Now().Add(-lineEvery)}
	lines.update(dlq.Progress{Done: 1})
	lines.update(dlq.Progress{Done: 2}) // too soon
	if got := out.String(); got != "1 of 2 letters replayed\n" {
		t.Errorf("without a terminal: %q", got)
	}
}

func TestBodyText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                      "(no body)",
		`{"a":[1]}`:             "{\n  \"a\": [\n    1\n  ]\n}",
		"plain\r\n\ttext":       "plain\n    text",
		"\x1b]0;title\x07 text": "\uFFFD]0;title\uFFFD text",
		"\xff\xfe":              "(2 bytes that are not text; -o json has them as base64)",
	} {
		if got := bodyText([]byte(body)); got != want {
			t.Errorf("bodyText(%q) = %q, want %q", body, got, want)
		}
	}
}
