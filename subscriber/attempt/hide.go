package attempt

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"iter"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What takes the place of what is not for everybody who reads logs.
const (
	hidden      = "[redacted]"
	hiddenEvent = "[event]"
)

// The shortest texts that are hidden, in bytes: what is shorter stands in
// everything. Errors have words of our own, such as the name of a host, and repeat
// little of a receiver's.
const (
	leastInAnswers = 4
	leastInErrors  = 8
	leastSecret    = 8 // that looks like one, see isRandom
)

// confidential are the texts of at least so many bytes that an endpoint shares
// with its receiver, and nobody else need see, its secrets apart: the values of
// its headers, and what of its URL is a query or looks like a token, and the
// signature of the request; all in the forms in which receivers repeat them, the
// longest first. It is made anew for each failure, as it is not needed for anything
// else.
func (e *Target) confidential(least int, signature string) []string {
	var out []string
	add := func(text string) {
		if len(text) < least {
			return
		}
		out = append(out, text, url.QueryEscape(text), url.PathEscape(text), html.EscapeString(text))
		for _, inner := range inJSON(text) {
			out = append(out, inner, strings.ReplaceAll(inner, "/", `\/`))
		}
	}
	for entry := range strings.FieldsSeq(signature) {
		_, value, _ := strings.Cut(entry, ",")
		add(entry)
		add(value)
	}
	for _, values := range e.Headers {
		for _, value := range values {
			scheme, rest, ok := strings.Cut(value, " ")
			if ok && isName(scheme) { // such as Bearer, which may stand in any answer
				add(strings.TrimSpace(rest))
				_, password := basicAuth(scheme, rest)
				add(password)
			} else {
				add(value)
			}
		}
	}
	if e.URL != nil {
		for _, part := range strings.FieldsFunc(e.URL.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
			_, value, ok := strings.Cut(part, "=")
			if !ok {
				value = part
			}
			add(value)
			if unescaped, err := url.QueryUnescape(value); err == nil && unescaped != value {
				add(unescaped)
			}
		}
		for part := range strings.SplitSeq(e.URL.Path, "/") {
			if len(part) >= leastSecret && isRandom(part) {
				add(part)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(out)
}

// inJSON is how encoders of JSON write a text, without quotes: that of Go, those
// that leave < > & as they are, and those that write ASCII only.
func inJSON(text string) [3]string {
	quoted, _ := json.Marshal(text) // of a string it cannot fail
	var plain, ascii strings.Builder
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(text)
	inner := strings.TrimSpace(plain.String())
	inner = inner[1 : len(inner)-1]
	for _, r := range inner {
		switch {
		case r < utf8.RuneSelf:
			ascii.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&ascii, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&ascii, `\u%04x`, r)
		}
	}
	return [...]string{string(quoted[1 : len(quoted)-1]), inner, ascii.String()}
}

// basicAuth is what credentials of the scheme Basic have in them (RFC 7617); empty
// if they are not that.
func basicAuth(scheme, credentials string) (user, password string) {
	if !strings.EqualFold(scheme, "Basic") {
		return "", ""
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(text), ":")
	return user, password
}

// hide takes the endpoint's secrets and confidential texts out of a text, and what
// looks like a credential. Of a text that was cut off, the last one may be there
// in part.
func (e *Target) hide(text string, confidential []string, cut bool) string {
	for _, s := range e.Secrets {
		text = s.HideIn(text)
	}
	for _, c := range confidential {
		text = strings.ReplaceAll(text, c, hidden)
	}
	if cut {
		text = hideEnd(text, confidential)
	}
	for _, p := range credentials {
		if strings.Contains(text, p.begin) {
			text = p.pattern.ReplaceAllString(text, hidden)
		}
	}
	if strings.Contains(text, "://") {
		text = userOfURL.ReplaceAllString(text, "://"+hidden+"@")
	}
	return hideNamed(text)
}

// hideEnd hides the beginning of a confidential text at the end of another.
func hideEnd(text string, confidential []string) string {
	const leastPart = 4
	body := strings.TrimRight(text, `"'.`)
	for _, c := range confidential {
		for n := min(len(c)-1, len(body)); n >= leastPart; n-- {
			if strings.HasSuffix(body, c[:n]) {
				return body[:len(body)-n] + hidden
			}
		}
	}
	return text
}

// credentials are what those of Fanjet, and tokens of a usual form, look like.
var credentials = [...]struct {
	begin   string
	pattern *regexp.Regexp
}{
	{"wh", regexp.MustCompile(`wh(?:sec|sk|pk)_[A-Za-z0-9+/=_\\%-]+`)},
	{"v1", regexp.MustCompile(`v1a?(?:,|%2[Cc])[A-Za-z0-9+/=\\%]{16,}`)},
	{"eyJ", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*`)},
}

// userOfURL is the user of a URL with the password, as in postgres://app:word@db.
var userOfURL = regexp.MustCompile(`://[^\s/?#@"'<>]*:[^\s/?#@"'<>]*@`)

// Words, in lower case, behind which a credential stands: at once behind a scheme
// of HTTP, and behind the colon or the equals sign that follows a key.
var (
	authSchemes = [...]string{"bearer", "basic", "digest", "apikey", "token"}
	authKeys    = [...]string{"authorization", "key", "token", "secret", "passw", "signature", "credential", "cookie", "session"}
)

// hideNamed hides what is named as a credential, and looks like one.
func hideNamed(text string) string {
	lower := lowerASCII(text)
	var spans [][2]int
	for _, word := range authSchemes {
		for at := range places(lower, word) {
			if value := skip(lower, at, " :=\\\"'"); value > at {
				spans = append(spans, [2]int{value, endOfValue(lower, value)})
			}
		}
	}
	for _, word := range authKeys {
		for at := range places(lower, word) {
			for at < len(lower) && (isLetter(lower[at]) || isDigit(lower[at]) || lower[at] == '_' || lower[at] == '-') {
				at++
			}
			sign := skip(lower, at, "\\\"' ")
			if value := skip(lower, sign, " :=[\\\"'"); sign < len(lower) && (lower[sign] == ':' || lower[sign] == '=') {
				spans = append(spans, [2]int{value, endOfValue(lower, value)})
			}
		}
	}
	slices.SortFunc(spans, func(a, b [2]int) int { return cmp.Or(a[0]-b[0], b[1]-a[1]) })
	var out strings.Builder
	at := 0
	for _, span := range spans {
		if span[0] >= at && isRandom(text[span[0]:span[1]]) {
			out.WriteString(text[at:span[0]] + hidden)
			at = span[1]
		}
	}
	out.WriteString(text[at:])
	return out.String()
}

// lowerASCII leaves every character in its place, which [strings.ToLower] does not.
func lowerASCII(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// places are the ends of a word in a text.
func places(text, word string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; ; {
			i := strings.Index(text[at:], word)
			if i < 0 {
				return
			}
			if at += i + len(word); !yield(at) {
				return
			}
		}
	}
}

// skip returns where something else stands than these characters.
func skip(text string, at int, chars string) int {
	for at < len(text) && strings.IndexByte(chars, text[at]) >= 0 {
		at++
	}
	return at
}

// endOfValue is where a value ends that begins at a place.
func endOfValue(text string, at int) int {
	if i := strings.IndexAny(text[at:], " \"',;&<>()[]{}\\"); i >= 0 {
		return at + i
	}
	return len(text)
}

// isRandom reports whether a text looks like one that was made by chance, rather
// than like words: it has a digit, or capitals behind small letters, and more than
// a few characters.
func isRandom(text string) bool {
	const least = 6
	digit, small, capital := false, false, false
	for i := range len(text) {
		switch c := text[i]; {
		case isDigit(c):
			digit = true
		case c >= 'a' && c <= 'z':
			small = true
		case c >= 'A' && c <= 'Z':
			capital = capital || small
		}
	}
	return len(text) >= least && (digit || capital)
}
