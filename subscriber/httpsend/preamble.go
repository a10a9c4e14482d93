package httpsend

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"fanjet/subscriber/endpoint"
)

// preamble is what all requests of an endpoint have in common.
type preamble struct {
	lines []byte // in HTTP/1.1: the request line and the headers that never change
	block []byte // in HTTP/2: the same, in HPACK
}

func newPreamble(target *url.URL, headers http.Header, userAgent string) (preamble, error) {
	host, uri := target.Host, target.RequestURI()
	if host == "" || strings.ContainsFunc(host+uri, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return preamble{}, errors.New("its URL has no host, or more than the visible characters of ASCII: percent-encode them")
	}
	userAgent = FieldValue(userAgent)
	all := http.Header{"User-Agent": {userAgent}}
	var p preamble
	p.lines = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", uri, host, userAgent)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, value := range headers[name] {
			if err := endpoint.CheckHeader(name, value); err != nil {
				return preamble{}, fmt.Errorf("header %q: %w", name, err)
			}
			all.Add(name, value)
			p.lines = appendField(p.lines, name, value)
		}
	}
	p.block = preambleBlock(target, all)
	return p, nil
}

// appendRequest appends the head of the request in HTTP/1.1.
func (x *Exchange) appendRequest(b []byte) []byte {
	b = append(b, x.preamble.lines...)
	for _, f := range x.fields {
		b = appendField(b, f.name, f.value)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(x.body)), 10)
	return append(b, "\r\n\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// FieldValue makes text a valid value of an HTTP header (RFC 9110, 5.5).
func FieldValue(s string) string {
	if ValidValue(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// ValidValue reports whether s can stand as a value in a header.
func ValidValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
