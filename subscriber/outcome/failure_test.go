package outcome

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDescribeNamesTheClass(t *testing.T) {
	t.Parallel()
	r := Result{Class: ClassConnect, Err: &url.Error{Op: "Post", URL: "http://x/secret", Err: errors.New("EOF")}}
	if got := r.Failure(); got != "connect: EOF" {
		t.Error(got)
	}
	if got := (Result{Class: Class5xx, Status: 500}).Failure(); got != "5xx: 500 Internal Server Error" {
		t.Error(got)
	}
	if got := (Result{Class: Class2xx, Status: 204}).Failure(); got != "" {
		t.Error(got)
	}
}

// FuzzPlain: whatever an error says is one line that shows as it is.
func FuzzPlain(f *testing.F) {
	const evil = "\r\nFanjet-Reason: x\n{\"level\":\"info\"}\x1b[2J\x1b]0;title\x07\x00\x7f\u009b31m\u202e\u200b\u2028\ufeff\xff\xfe\t"
	for _, text := range []string{"", "a b", evil, strings.Repeat("é", 300), strings.Repeat("\xff", 500)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := Result{Class: ClassInterrupted, Err: errors.New(text)}
		got := r.Failure()
		if len(got) > MaxFailure || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
		if len(text) < 300 && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == ':' }) < 0 && got != "interrupted: "+text {
			t.Errorf("%q became %q", text, got)
		}
	})
}
