package endpoint

import (
	"errors"
	"slices"
	"strings"
)

// maxHeaderValue bounds the value of a header that an endpoint adds, in bytes.
const maxHeaderValue = 8 << 10

// ownedPrefixes are the headers that say what a webhook is.
var ownedPrefixes = []string{"webhook-", "ce-", "fanjet-"}

// ownedHeaders are set by Fanjet or by the HTTP client, belong to the event, or
// concern only the connection (RFC 9110, section 7.6.1).
var ownedHeaders = []string{
	"connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive", "proxy-authenticate",
	"proxy-authorization", "proxy-connection", "te", "traceparent", "tracestate", "trailer", "transfer-encoding",
	"upgrade", "user-agent",
}

// CheckHeader reports why an endpoint cannot add a header to its requests, nil
// if it can. The error never contains the value.
func CheckHeader(name, value string) error {
	switch lower := strings.ToLower(name); {
	case name == "":
		return errors.New("the name of the header is empty")
	case strings.ContainsFunc(name, func(r rune) bool { return !IsToken(r) }):
		return errors.New("the name of a header consists of letters, digits and dashes")
	case slices.Contains(ownedHeaders, lower),
		slices.ContainsFunc(ownedPrefixes, func(prefix string) bool { return strings.HasPrefix(lower, prefix) }):
		return errors.New("this header is set by Fanjet or belongs to the connection: remove it")
	case len(value) > maxHeaderValue:
		return errors.New("the value is longer than 8 KiB")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return errors.New("the value contains a line break or another control character: remove it")
	case strings.Trim(value, " \t") != value:
		return errors.New("the value begins or ends with white space, which is not sent: remove it")
	}
	return nil
}

// IsToken reports whether r may stand in the name of a header (RFC 9110,
// section 5.6.2).
func IsToken(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
