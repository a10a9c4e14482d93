package subscriber

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of what is told about a failed attempt, in bytes. The whole is a header
// of retries and dead letters, a field of every log line, and a column of tables.
const (
	maxFailure  = 400
	maxShown    = 200 // of what the receiver says in its answer
	maxLocation = 200
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
func (r Result) Failure() string { return r.describe() }

// describe is [Result.Failure], for headers and logs.
func (r Result) describe() string {
	switch {
	case r.Class == Class2xx:
		return ""
	case r.failure != "":
		return r.failure
	case r.Err != nil:
		return plain(string(r.Class)+": "+r.reason(), maxFailure)
	case r.Status != 0:
		return string(r.Class) + ": " + statusLine(r.Status)
	default:
		return ""
	}
}

// explain makes what [Result.Failure] says. It may wait for the body of a
// response, a moment.
func (e *target) explain(x *exchange, r *Result, resp *http.Response) {
	switch {
	case r.Class == Class2xx:
	case r.Err != nil:
		r.failure = e.errorLine(r)
	default:
		body, whole := x.excerpt(resp)
		r.failure = e.answerLine(r, x.told, body, whole, x)
	}
}

// errorLine says why there was no response. Only some errors repeat what came, but
// those repeat any of it.
func (e *target) errorLine(r *Result) string {
	return plain(string(r.Class)+": "+e.hide(r.reason(), e.confidential(leastInErrors, ""), true), maxFailure)
}

// answerLine says what the response says, of whose body this is the beginning.
func (e *target) answerLine(r *Result, says told, body []byte, whole bool, sent *exchange) string {
	private := e.confidential(leastInAnswers, sent.value("Webhook-Signature"))
	line := string(r.Class) + ": " + statusLine(r.Status)
	if says.location != "" && r.Class == Class3xx {
		line += ", Location: " + plain(e.hide(publicLocation(says.location), private, true), maxLocation)
	}
	text := afterStatus(legible(body, says), r.Status)
	if text = e.hide(hideEvent(text, sent.body), private, !whole); text != "" {
		line += ": " + plain(text, maxShown)
	}
	return plain(line, maxFailure)
}

// reason is the error without what net/http puts around it: the URL, and its own
// name.
func (r Result) reason() string {
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

// statusLine is a status with its name.
func statusLine(status int) string {
	text := strconv.Itoa(status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	return text
}

// afterStatus is the text of an answer without the status, which is told already
// and with which those of many servers begin.
func afterStatus(text string, status int) string {
	line := statusLine(status)
	if strings.EqualFold(text, http.StatusText(status)) || strings.EqualFold(text, strconv.Itoa(status)) {
		return ""
	}
	if len(text) < len(line) || !strings.EqualFold(text[:len(line)], line) {
		return text
	}
	if rest := strings.TrimLeft(text[len(line):], " .:-"); rest != text[len(line):] || rest == "" {
		return rest
	}
	return text
}

// credentialsInPath is what looks like a user with a password where none belongs,
// as in user:password@host and mailto:user:password@host.
var credentialsInPath = regexp.MustCompile(`[^/\s]*:[^/\s]*(?:@|%40)`)

// publicLocation is a Location without a user, a query and a fragment: they may
// be secret.
func publicLocation(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		if i := strings.IndexByte(location, '@'); i >= 0 {
			return "(not a URL)"
		}
		location, _, _ = strings.Cut(location, "#")
		location, _, more := strings.Cut(location, "?")
		if more {
			location += "?..."
		}
		return location
	}
	query := u.RawQuery != ""
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	text := credentialsInPath.ReplaceAllString(u.String(), hidden+"@")
	if query {
		text += "?..."
	}
	return text
}
