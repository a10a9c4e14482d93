package match

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep the arrays and objects of event data may be nested.
const maxDepth = 1000

// parseJSON parses event data into the values that filters work on:
// map[string]any, []any, string, bool, nil, and for numbers int64, uint64
// where that is too small, or else float64. Beyond the range of a float64 a
// number becomes infinite.
//
// It refuses what different parsers read differently: a filter must not see
// another value than the receiver of the same bytes. So no key may occur
// twice in an object, and the text must be valid UTF-8. encoding/json accepts
// both. A byte order mark at the beginning is skipped, as RFC 8259 allows.
// Errors are a [*jsonError].
func parseJSON(data []byte) (any, error) {
	// One copy, of which all strings without escapes are parts.
	p := jsonParser{text: string(data)}
	if strings.HasPrefix(p.text, byteOrderMark) {
		p.pos = len(byteOrderMark)
	}
	if strings.Trim(p.text[p.pos:], " \t\r\n") == "" {
		return nil, &jsonError{reason: "it is empty"}
	}
	if !utf8.ValidString(p.text) {
		p.pos = invalidUTF8(p.text)
		return nil, p.error("it is not valid UTF-8")
	}
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 || p.pos < len(p.text) {
		return nil, p.error("something follows the value")
	}
	return value, nil
}

// byteOrderMark is what some programs begin UTF-8 text with.
const byteOrderMark = "\ufeff"

// invalidUTF8 returns where a text stops being UTF-8.
func invalidUTF8(text string) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

// jsonError says what is wrong with a JSON text.
type jsonError struct {
	at      int    // byte of the text, from 1; 0: none of them
	reason  string // without anything of the text
	quoting string // the same, with what is there; empty if that is nothing more
}

// Error implements error. It may quote the text.
func (e *jsonError) Error() string {
	text := cmp.Or(e.quoting, e.reason)
	if e.at > 0 {
		text += fmt.Sprintf(" (byte %d)", e.at)
	}
	return text
}

// jsonParser reads one JSON text from front to back.
type jsonParser struct {
	text string
	pos  int
}

// error returns an error at the present position.
func (p *jsonParser) error(reason string) error { return &jsonError{at: p.pos + 1, reason: reason} }

// peek skips white space and returns the byte after it without consuming it,
// 0 at the end.
func (p *jsonParser) peek() byte {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return c
		}
	}
	return 0
}

func (p *jsonParser) unexpected() error {
	if p.pos >= len(p.text) {
		return p.error("it ends too early")
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return &jsonError{at: p.pos + 1, reason: "unexpected character", quoting: fmt.Sprintf("unexpected %q", r)}
}

// value reads one value; depth is the number of arrays and objects around it.
func (p *jsonParser) value(depth int) (any, error) {
	switch c := p.peek(); c {
	case '{':
		return p.object(depth + 1)
	case '[':
		return p.array(depth + 1)
	case '"':
		return p.string()
	case 't':
		return true, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return nil, p.literal("null")
	default:
		if c == '-' || isDigit(c) {
			return p.number()
		}
		return nil, p.unexpected()
	}
}

func (p *jsonParser) literal(word string) error {
	if !strings.HasPrefix(p.text[p.pos:], word) {
		return p.unexpected()
	}
	p.pos += len(word)
	return nil
}

func (p *jsonParser) object(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.error(fmt.Sprintf("it is nested deeper than %d levels", maxDepth))
	}
	p.pos++
	members := make(map[string]any)
	if p.peek() == '}' {
		p.pos++
		return members, nil
	}
	for {
		if p.peek() != '"' {
			return nil, p.unexpected()
		}
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		if p.peek() != ':' {
			return nil, p.unexpected()
		}
		p.pos++
		value, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		before := len(members)
		if members[key] = value; len(members) == before {
			return nil, &jsonError{at: p.pos + 1, reason: "a key occurs twice in an object", quoting: fmt.Sprintf("key %q occurs twice in an object", key)}
		}
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return members, nil
		default:
			return nil, p.unexpected()
		}
	}
}

func (p *jsonParser) array(depth int) (any, error) {
	if depth > maxDepth {
		return nil, p.error(fmt.Sprintf("it is nested deeper than %d levels", maxDepth))
	}
	p.pos++
	elements := []any{}
	if p.peek() == ']' {
		p.pos++
		return elements, nil
	}
	for {
		value, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		elements = append(elements, value)
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return elements, nil
		default:
			return nil, p.unexpected()
		}
	}
}
