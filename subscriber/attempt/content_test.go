package attempt

import (
	"strings"
	"testing"
)

// A content type goes along if it is one, whatever its parameters say. It becomes a
// header: nothing in it may end that, or be seen as something else by a terminal.
func TestIsContentType(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"application/json":                  true,
		"text/plain; charset=utf-8":         true,
		"text/plain ;charset=utf-8":         true,
		"text/plain;\tcharset=\"a; b/c\"":   true,
		"x/y;" + strings.Repeat("z", 1020):  true,
		"x/y;" + strings.Repeat("z", 1021):  false,
		"":                                  false,
		"json":                              false,
		"/json":                             false,
		"text/":                             false,
		" text/plain":                       false,
		"text/pl ain":                       false,
		"text/plain\r\nX-Injected: 1":       false,
		"text/plain; charset=utf-8\r\nX: 1": false,
		"text/plain; charset=utf-8\nX: 1":   false,
		"text/plain; a=\x00":                false,
		"text/plain; a=\x1b[2J":             false,
		"text/plain; a=\x7f":                false,
	} {
		if got := isContentType(value); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
