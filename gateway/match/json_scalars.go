package match

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

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
			return 0, p.error("invalid escape")
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
		return 0, p.error("invalid escape")
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
