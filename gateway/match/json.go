package match

import (
	"errors"
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
