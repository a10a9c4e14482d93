package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"fanjet/webhook"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// signed returns a request as Fanjet would send it.
func signed(t *testing.T, id, body string) *http.Request {
	t.Helper()
	now := time.Now()
	signature, err := webhook.Sign(testSecret, id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	return req
}

func testReceiver(t *testing.T, m manners) (*receiver, *strings.Builder) {
	t.Helper()
	verifier, err := webhook.NewVerifier(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	return newReceiver(verifier, m, &out), &out
}

func serve(r *receiver, req *http.Request) int {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Code
}

func TestReceiverRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*http.Request)
		status int
		line   string
	}{
		{"another method", func(r *http.Request) { r.Method = http.MethodGet }, 405, "sent with POST"},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }, 401, "no webhook signature matches"},
		{"an endless body", func(r *http.Request) { r.Body = io.NopCloser(endless{}) }, 413, "too large"},
		{"a body that breaks off", func(r *http.Request) { r.Body = io.NopCloser(broken{}) }, 400, "broken off"},
		{"an old request", func(r *http.Request) { r.Header.Set("webhook-timestamp", "1614265330") }, 401, "outside the tolerance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, out := testReceiver(t, manners{status: 200})
			req := signed(t, "msg_a", "{}")
			tt.change(req)
			if got := serve(r, req); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if !strings.Contains(out.String(), tt.line) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("printed %q, want a line with %q", out.String(), tt.line)
			}
			if want := "1 request: 0 events accepted, 0 duplicates, 0 failed on purpose, 1 refused"; r.summary() != want {
				t.Errorf("summary %q, want %q", r.summary(), want)
			}
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken off") }

func TestReceiverCountsUnderConcurrency(t *testing.T) {
	t.Parallel()
	r, out := testReceiver(t, manners{status: 204})
	var wg sync.WaitGroup
	for range 8 {
		for _, id := range []string{"msg_a", "msg_b"} {
			req := signed(t, id, "{}")
			wg.Go(func() { serve(r, req) })
		}
	}
	wg.Wait()
	if want := "16 requests: 2 events accepted, 14 duplicates, 0 failed on purpose, 0 refused"; r.summary() != want {
		t.Errorf("summary %q, want %q", r.summary(), want)
	}
	if got := strings.Count(out.String(), "verified 204"); got != 16 {
		t.Errorf("%d lines, want 16", got)
	}
}

func TestReceiverStopsWaitingWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	r, _ := testReceiver(t, manners{status: 200, delay: 1000 * time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	serve(r, signed(t, "msg_a", "{}").WithContext(ctx))
}

func TestPreview(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, want string }{
		{"short", `{"a": 1}`, `{"a": 1}`},
		{"several lines", "a\r\n\tb", "a   b"},
		{"steers the terminal", "\x1b[2J\a", "\uFFFD[2J\uFFFD"},
		{"no text", "\xff\xfe", "\uFFFD\uFFFD"},
		{"long", strings.Repeat("x", 200), strings.Repeat("x", 96) + "… (200 bytes)"},
		{"cut inside of a character", strings.Repeat("x", 95) + "üüü", strings.Repeat("x", 95) + "… (101 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := preview([]byte(tt.body)); got != tt.want {
				t.Errorf("preview = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReceiverWithoutIDs(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	r := newReceiver(nil, manners{status: 200}, &out)
	for range 2 {
		serve(r, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}")))
	}
	if want := "2 requests: 2 events accepted, 0 duplicates, 0 failed on purpose, 0 refused"; r.summary() != want {
		t.Errorf("summary %q, want %q", r.summary(), want)
	}
}

// FuzzPreview shows bodies that anybody can send: one line, and nothing in it
// that steers a terminal.
func FuzzPreview(f *testing.F) {
	f.Add([]byte(`{"a": 1}`))
	f.Add([]byte("\x1b]0;title\a\u202e\r\n\xff"))
	f.Add([]byte(strings.Repeat("ü", previewLen)))
	f.Fuzz(func(t *testing.T, body []byte) {
		text := preview(body)
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != utf8.RuneError && !unicode.IsPrint(r) }) {
			t.Errorf("preview of %q is %q", body, text)
		}
	})
}
