package attempt

import (
	"bytes"
	"encoding/binary"
)

// maxJSONDepth is how deep arrays and objects may be nested, as in
// encoding/json.
const maxJSONDepth = 10_000

// isJSON reports what [encoding/json.Valid] reports, in a tenth of the time for
// long strings: it runs over the body of every attempt.
func isJSON(text []byte) bool {
	s := jsonScanner{text: text}
	for s.value() {
		for {
			s.space()
			if s.depth == 0 {
				return s.pos == len(s.text)
			}
			closing := byte(']')
			if s.inObject() {
				closing = '}'
			}
			if s.take(closing) {
				s.depth--
				continue
			}
			if !s.take(',') || closing == '}' && !s.key() {
				return false
			}
			break // the next value
		}
	}
	return false
}

// jsonScanner reads JSON from pos on.
type jsonScanner struct {
	text    []byte
	pos     int
	depth   int                         // how many arrays and objects are open
	objects [maxJSONDepth/64 + 1]uint64 // bit n: the one at depth n is an object
}

// value reads a value, or only the beginning of one that is a filled array or
// object: up to its first value, which comes next.
func (s *jsonScanner) value() bool {
	for {
		s.space()
		switch s.peek() {
		case '"':
			return s.string()
		case '{':
			if !s.open(true) {
				return false
			}
			if s.take('}') {
				s.depth--
				return true
			}
			if !s.key() {
				return false
			}
		case '[':
			if !s.open(false) {
				return false
			}
			if s.take(']') {
				s.depth--
				return true
			}
		case 't':
			return s.word("true")
		case 'f':
			return s.word("false")
		case 'n':
			return s.word("null")
		default:
			return s.number()
		}
	}
}

// open enters an array or object, up to what is not white space.
func (s *jsonScanner) open(object bool) bool {
	s.pos++
	s.depth++
	if s.depth > maxJSONDepth {
		return false
	}
	bit := uint64(1) << (s.depth % 64)
	s.objects[s.depth/64] &^= bit
	if object {
		s.objects[s.depth/64] |= bit
	}
	s.space()
	return true
}

func (s *jsonScanner) inObject() bool { return s.objects[s.depth/64]>>(s.depth%64)&1 != 0 }

// key reads a name of an object, and the colon.
func (s *jsonScanner) key() bool {
	s.space()
	if !s.string() {
		return false
	}
	s.space()
	return s.take(':')
}

// string reads a string with its quotes.
func (s *jsonScanner) string() bool {
	if !s.take('"') {
		return false
	}
	for {
		s.plain()
		switch c := s.peek(); {
		case c == '"':
			s.pos++
			return true
		case c == '\\':
			s.pos++
			if !s.escape() {
				return false
			}
		case c < ' ': // or the end
			return false
		default:
			s.pos++
		}
	}
}

// plain skips bytes that mean nothing in a string, eight at a time.
func (s *jsonScanner) plain() {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for len(s.text)-s.pos >= 8 {
		w := binary.LittleEndian.Uint64(s.text[s.pos:])
		quote, escape := w^ones*'"', w^ones*'\\'
		// A high bit is set where a byte is below a space, a quote or a
		// backslash, and perhaps in bytes above one of those.
		if ((w-ones*' ')&^w|(quote-ones)&^quote|(escape-ones)&^escape)&highs != 0 {
			return
		}
		s.pos += 8
	}
}

// escape reads what follows a backslash.
func (s *jsonScanner) escape() bool {
	c := s.peek()
	s.pos++
	if c != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), c) >= 0
	}
	for range 4 {
		c := s.peek() | 0x20 // letters become small, digits stay
		if !isDigit(s.peek()) && (c < 'a' || c > 'f') {
			return false
		}
		s.pos++
	}
	return true
}

func (s *jsonScanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// digits reads at least one.
func (s *jsonScanner) digits() bool {
	begin := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > begin
}

func (s *jsonScanner) word(w string) bool {
	if len(s.text)-s.pos < len(w) || string(s.text[s.pos:s.pos+len(w)]) != w {
		return false
	}
	s.pos += len(w)
	return true
}

func (s *jsonScanner) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte; 0, which stands nowhere in JSON, at the end.
func (s *jsonScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// take skips the next byte if it is c.
func (s *jsonScanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}
