package httpsend

import (
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"fanjet/subscriber/outcome"
)

// evil is what a receiver would like to have in logs, headers and terminals.
const evil = "\r\nFanjet-Reason: x\n{\"level\":\"info\"}\x1b[2J\x1b]0;title\x07\x00\x7f\u009b31m\u202e\u200b\u2028\ufeff\xff\xfe\t"

// checkPlain fails if text could do anything but be read.
func checkPlain(t *testing.T, text string) {
	t.Helper()
	if len(text) > outcome.MaxFailure || !utf8.ValidString(text) {
		t.Errorf("%d bytes, valid: %v", len(text), utf8.ValidString(text))
	}
	for _, r := range text {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			t.Errorf("%q in %q", r, text)
		}
	}
}

// Whatever a receiver sends ends in one line that shows as it is.
func TestReceiverInjectsNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(evil, 1000)
	for name, text := range map[string]string{
		"instead of HTTP":       evil,
		"in the status line":    "HTTP/1.1 " + evil + "\r\n\r\n",
		"in the status":         "HTTP/1.1 \x1b[2J OK\r\n\r\n",
		"in a name":             "HTTP/1.1 200 OK\r\nX\x1b[2J\u202e: y\r\n\r\n",
		"in a value":            "HTTP/1.1 200 OK\r\nX: \x1b[2J\u202e\r\n\r\n",
		"in a line of no field": "HTTP/1.1 200 OK\r\n\x1b[2J\u202e\r\n\r\n",
		"in a length":           "HTTP/1.1 200 OK\r\nContent-Length: \u202e\u009b\xff\r\n\r\n",
		"in a long length":      "HTTP/1.1 200 OK\r\nContent-Length: " + strings.Repeat("\u202e", 9000) + "\r\n\r\n",
		"at length":             "HTTP/1.1 " + long + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, answering(text, true))
			r := try(t.Context(), testSender(t, s.url(), loopback), nil)
			if r.Class != outcome.ClassConnect {
				t.Errorf("%+v", r)
			}
			checkPlain(t, r.Failure())
		})
	}
	// net/http repeats some lines as they came, and why a receiver goes away.
	for name, serve := range map[string]func(*frames){
		"in HTTP/1.1 instead of HTTP/2": func(f *frames) { _, _ = io.WriteString(f, "HTTP/1.1 200 OK\r\n"+long) },
		"when it goes away": func(f *frames) {
			stream := f.request()
			f.goAway(stream, codeInternal, long[:16000])
			_ = f.Close()
		},
		"in a header": func(f *frames) { f.answer(f.request(), append(literal("x\x1b[2J", "y"), literal(":status", evil)...)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, sender := newFrameReceiver(t, nil, serve)
			r := try(t.Context(), sender, nil)
			if r.Class != outcome.ClassConnect {
				t.Errorf("%+v", r)
			}
			checkPlain(t, r.Failure())
		})
	}
}
