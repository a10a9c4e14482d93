package attempt

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"
)

// explain makes what [outcome.Result.Failure] says. It may wait for the body of a
// response, a moment.
func (e *Target) explain(x *httpsend.Exchange, r *outcome.Result, resp *http.Response, event []byte) {
	switch {
	case r.Class == outcome.Class2xx:
	case r.Err != nil:
		r.Told = e.errorLine(r)
	default:
		body, whole := x.Excerpt(resp)
		r.Told = e.answerLine(r, answer{x.Told(), body, whole}, event, x.Get("Webhook-Signature"))
	}
}

// errorLine says why there was no response. Only some errors repeat what came, but
// those repeat any of it.
func (e *Target) errorLine(r *outcome.Result) string {
	return outcome.Plain(string(r.Class)+": "+e.hide(r.Reason(), e.confidential(leastInErrors, ""), true), outcome.MaxFailure)
}

// answer is what is known of a response that is a failure.
type answer struct {
	told  httpsend.Told
	body  []byte // the beginning
	whole bool   // that is all of the body
}

// answerLine says what the response to an event says, without what it repeats of the
// event and of the request's signature.
func (e *Target) answerLine(r *outcome.Result, says answer, event []byte, signature string) string {
	private := e.confidential(leastInAnswers, signature)
	line := string(r.Class) + ": " + outcome.StatusLine(r.Status)
	if location := says.told.Location; location != "" && r.Class == outcome.Class3xx {
		line += ", Location: " + outcome.Plain(e.hide(publicLocation(location), private, true), outcome.MaxLocation)
	}
	text := afterStatus(legible(says.body, says.told), r.Status)
	if text = e.hide(hideEvent(text, event), private, !says.whole); text != "" {
		line += ": " + outcome.Plain(text, outcome.MaxShown)
	}
	return outcome.Plain(line, outcome.MaxFailure)
}

// afterStatus is the text of an answer without the status, which is told already
// and with which those of many servers begin.
func afterStatus(text string, status int) string {
	line := outcome.StatusLine(status)
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
