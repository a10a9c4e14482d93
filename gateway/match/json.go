package match

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
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
// both.
func parseJSON(data []byte) (any, error) {
	// One copy, of which all strings without escapes are parts.
	p := jsonParser{text: string(data)}
	if strings.Trim(p.text, " \t\r\n") == "" {
		return nil, errors.New("it is empty")
	}
	if !utf8.ValidString(p.text) {
		return nil, errors.New("it is not valid UTF-8")
	}
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 || p.pos < len(p.text) {
		return nil, p.errorf("something follows the value")
	}
	return value, nil
}

// jsonParser reads one JSON text from front to back.
type jsonParser struct {
	text string
	pos  int
}

// errorf returns an error that names the present position, from 1.
func (p *jsonParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s (byte %d)", fmt.Sprintf(format, args...), p.pos+1)
}

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
		return p.errorf("it ends too early")
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return p.errorf("unexpected %q", r)
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
		return nil, p.errorf("it is nested deeper than %d levels", maxDepth)
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
			return nil, p.errorf("key %q occurs twice in an object", key)
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
		return nil, p.errorf("it is nested deeper than %d levels", maxDepth)
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

// string reads a string; the position is at its opening quote.
func (p *jsonParser) string() (string, error) {
	p.pos++
	start := p.pos
	var unescaped []byte // what was read, once there was an escape
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			last := p.text[start:p.pos]
			p.pos++
			if unescaped == nil {
				return last, nil
			}
			return string(append(unescaped, last...)), nil
		case c == '\\':
			unescaped = append(unescaped, p.text[start:p.pos]...)
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			unescaped = utf8.AppendRune(unescaped, r)
			start = p.pos
		case c < ' ':
			return "", p.unexpected()
		default:
			p.pos++
		}
	}
	return "", p.unexpected()
}

// escape reads an escape sequence. Half of a surrogate pair without the other
// stands for no character: it becomes U+FFFD, as it does in most parsers.
func (p *jsonParser) escape() (rune, error) {
	if p.pos+1 >= len(p.text) {
		p.pos = len(p.text)
		return 0, p.unexpected()
	}
	c := p.text[p.pos+1]
	if c == 'u' {
		first, ok := p.hex()
		if !ok {
			return 0, p.errorf("invalid escape")
		}
		p.pos += 6
		if !utf16.IsSurrogate(first) {
			return first, nil
		}
		if second, ok := p.hex(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				p.pos += 6
				return r, nil
			}
		}
		return utf8.RuneError, nil
	}
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 {
		return 0, p.errorf("invalid escape")
	}
	p.pos += 2
	return rune("\"\\/\b\f\n\r\t"[i]), nil
}

// hex returns the number of the \uXXXX at the present position, if there is
// one.
func (p *jsonParser) hex() (rune, bool) {
	if len(p.text)-p.pos < 6 || p.text[p.pos] != '\\' || p.text[p.pos+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.text[p.pos+2 : p.pos+6]) {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func (p *jsonParser) number() (any, error) {
	start := p.pos
	if p.text[p.pos] == '-' {
		p.pos++
	}
	if p.at('0') {
		p.pos++
	} else if !p.digits() {
		return nil, p.unexpected()
	}
	integer := true
	if p.at('.') {
		integer = false
		p.pos++
		if !p.digits() {
			return nil, p.unexpected()
		}
	}
	if p.at('e') || p.at('E') {
		integer = false
		p.pos++
		if p.at('+') || p.at('-') {
			p.pos++
		}
		if !p.digits() {
			return nil, p.unexpected()
		}
	}
	text := p.text[start:p.pos]
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
	}
	// The grammar is checked, so the only error is one of range, which comes
	// with ±Inf.
	f, _ := strconv.ParseFloat(text, 64)
	return f, nil
}

// at reports whether c is the next byte, without skipping white space.
func (p *jsonParser) at(c byte) bool { return p.pos < len(p.text) && p.text[p.pos] == c }

// digits skips digits and reports whether there were any.
func (p *jsonParser) digits() bool {
	start := p.pos
	for p.pos < len(p.text) && isDigit(p.text[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
