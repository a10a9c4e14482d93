package outcome

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// Every status has a class; what no RFC knows is the receiver's failure.
func TestStatusClass(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]Class{
		100: Class5xx, 199: Class5xx, 200: Class2xx, 299: Class2xx, 300: Class3xx, 399: Class3xx, 400: Class4xx, 499: Class4xx,
		500: Class5xx, 599: Class5xx, 600: Class5xx, 999: Class5xx,
	} {
		if got := StatusClass(status); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

// A failure has one line, without the URL and without what net/http puts before it.
func TestFailure(t *testing.T) {
	t.Parallel()
	at := func(err error) error { return &url.Error{Op: "Post", URL: "https://x/secret", Err: err} }
	for want, r := range map[string]Result{
		"":                                {Class: Class2xx, Status: 200, Told: "x", Err: errors.New("x")},
		"5xx: 503 Service Unavailable":    {Class: Class5xx, Status: 503},
		"5xx: 799":                        {Class: Class5xx, Status: 799},
		"4xx: 400 Bad Request, it says":   {Class: Class4xx, Status: 400, Told: "4xx: 400 Bad Request, it says"},
		"connect: refused":                {Class: ClassConnect, Err: at(errors.New("refused"))},
		"tls: bad certificate":            {Class: ClassTLS, Err: at(errors.New("tls: bad certificate"))},
		"connect: server closed":          {Class: ClassConnect, Err: errors.New("http: server closed")},
		"connect: aborted":                {Class: ClassConnect, Err: errors.New("net/http: aborted")},
		"connect: stream error":           {Class: ClassConnect, Err: errors.New("http2: stream error")},
		"connect: two lines ? and a bell": {Class: ClassConnect, Err: errors.New("two\nlines \x07 and\ta bell")},
	} {
		if got := r.Failure(); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
	if got := (Result{Class: ClassConnect}).Failure(); got != "" {
		t.Errorf("without status and error: %q", got)
	}
}

// What is too long is cut between two characters, within its limit.
func TestPlain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{
		{"0123456789", 10, "0123456789"},
		{"0123456789x", 10, "0123456..."},
		{"äöüäöü", 12, "äöüäöü"},
		{"äöüäöüx", 12, "äöüä..."},
		{"a\u202eb\u200bc\xffd\x1b", 100, "a?b?c?d?"},
		{"a\r\n\tb\u2028c\u00a0d", 100, "a   b c d"},
	} {
		if got := Plain(tt.text, tt.limit); got != tt.want {
			t.Errorf("%q at %d: %q, want %q", tt.text, tt.limit, got, tt.want)
		}
	}
	r := Result{Class: ClassConnect, Err: fmt.Errorf("x%s", strings.Repeat("y", 1000))}
	if long, short := len(r.Failure()), len(r.Short()); long != MaxFailure || short != maxInReason {
		t.Errorf("a failure has %d bytes, its beginning %d", long, short)
	}
}
