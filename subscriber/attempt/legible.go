package attempt

import (
	"fmt"
	"html"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"
)

// legible makes a line of the beginning of a body: of HTML and XML the text, of
// what is no text only its name; empty if it says nothing.
func legible(body []byte, says httpsend.Told) string {
	if len(body) == 0 {
		return ""
	}
	media, _, err := mime.ParseMediaType(says.ContentType)
	if err != nil {
		media = ""
	}
	switch coding := strings.ToLower(strings.TrimSpace(says.ContentEncoding)); {
	case coding != "" && coding != "identity":
		return fmt.Sprintf("(a body in %s)", outcome.Plain(coding, maxName))
	case isBinary(body) && media != "":
		return fmt.Sprintf("(a body of %s)", outcome.Plain(media, maxName))
	case isBinary(body):
		return "(a body that is no text)"
	}
	text := string(body)
	if isMarkup(media, text) {
		text = textOf(text)
	}
	return strings.Join(strings.Fields(text), " ")
}

// maxName bounds the name of a type or a coding that a receiver sends.
const maxName = 64

// isBinary reports whether somebody who reads a body would see little. Text in
// another encoding than UTF-8 has some bytes that are wrong.
func isBinary(body []byte) bool {
	odd, total := 0, 0
	for rest := body; len(rest) > 0; total++ {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 && !utf8.FullRune(rest) {
			break // it was cut off
		}
		rest = rest[n:]
		switch {
		case r == 0:
			return true
		case r == utf8.RuneError, unicode.IsControl(r) && !unicode.IsSpace(r) && r != '\x1b':
			odd++
		}
	}
	return odd*4 > total
}

func isMarkup(media, text string) bool {
	begin := strings.TrimSpace(text[:min(len(text), 200)])
	return strings.Contains(media, "html") || strings.HasSuffix(media, "xml") ||
		hasPrefixFold(begin, "<!doctype") || hasPrefixFold(begin, "<html") || hasPrefixFold(begin, "<?xml")
}

// unreadElements are the elements of HTML whose content is not for people.
var unreadElements = [...]string{"head", "script", "style", "svg", "template"}

// textOf is the text between the tags of HTML or XML, or the title if there is no
// other. It takes anything.
func textOf(markup string) string {
	var out strings.Builder
	title := between(markup, "<title", "</title")
	for {
		text, rest, more := strings.Cut(markup, "<")
		out.WriteString(text)
		out.WriteByte(' ')
		if !more {
			break
		}
		markup = afterTag(rest)
	}
	text := html.UnescapeString(out.String())
	if strings.TrimSpace(text) == "" {
		return html.UnescapeString(title)
	}
	return text
}

// afterTag is what follows a tag, of which the < was read; of an element that is
// unread, what follows its end.
func afterTag(tag string) string {
	if comment, ok := strings.CutPrefix(tag, "!--"); ok {
		_, rest, _ := strings.Cut(comment, "-->")
		return rest
	}
	for _, name := range unreadElements {
		if !hasPrefixFold(tag, name) || len(tag) > len(name) && isLetter(tag[len(name)]) {
			continue
		}
		end := indexFold(tag, "</"+name)
		if end < 0 {
			return ""
		}
		tag = tag[end:]
		break
	}
	_, rest, _ := strings.Cut(tag, ">")
	return rest
}

// between is the text between two tags.
func between(markup, begin, end string) string {
	i := indexFold(markup, begin)
	if i < 0 {
		return ""
	}
	_, text, _ := strings.Cut(markup[i:], ">")
	if j := indexFold(text, end); j >= 0 {
		return text[:j]
	}
	return text
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// indexFold finds ASCII whatever its case; -1: it is not there.
func indexFold(s, what string) int {
	for i := range len(s) - len(what) + 1 {
		if hasPrefixFold(s[i:], what) {
			return i
		}
	}
	return -1
}
