package outcome

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of what is told about a failed attempt, in bytes. The whole is a header
// of retries and dead letters, a field of every log line, and a column of tables.
const (
	MaxFailure  = 400
	MaxShown    = 200 // of what the receiver says in its answer
	MaxLocation = 200
)

// Failure says why the attempt failed; empty if it did not. It is what logs,
// dead letters, the state of the endpoint and its test event say, in the same
// words: the class, then the error, or the status with the Location of a redirect
// and the beginning of what the receiver says.
//
// It is a line of at most 400 bytes in valid UTF-8 that every terminal shows as it
// is, whatever the endpoint sent. It has neither the URL, which may carry a
// secret, nor, as far as that can be told, what a receiver repeats of secrets,
// signatures, configured headers and the event.
func (r Result) Failure() string {
	switch {
	case r.Class == Class2xx:
		return ""
	case r.Told != "":
		return r.Told
	case r.Err != nil:
		return Plain(string(r.Class)+": "+r.Reason(), MaxFailure)
	case r.Status != 0:
		return string(r.Class) + ": " + StatusLine(r.Status)
	default:
		return ""
	}
}

// Reason is the error without what net/http puts around it: the URL, and its own
// name.
func (r Result) Reason() string {
	err := r.Err
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	text := err.Error()
	for _, prefix := range [...]string{"net/http: ", "http: ", "http2: ", "tls: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// StatusLine is a status with its name.
func StatusLine(status int) string {
	text := strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	return text
}

// Short is the beginning of what Failure says.
func (r Result) Short() string { return Plain(r.Failure(), maxInReason) }

// maxInReason bounds what is told of a failure where more than one is named, in
// bytes.
const maxInReason = 200
