package admin

import (
	"bytes"
	"strconv"
)

// framing follows the requests of a connection of HTTP/1.1 as they are read, to find
// one that says twice how long it is: by Content-Length and by Transfer-Encoding.
// A proxy in front may go by the one and this server by the other, and then they
// disagree about what the next request is (RFC 9112, section 6.1). net/http goes on
// with such a request after it has removed the length, so that no handler sees it.
//
// It makes the second of the two headers unreadable: net/http then answers with 400
// and closes the connection, after whatever was asked for before. The same becomes of
// a header that goes on in a further line, which servers must not take either
// (section 5.2), and of a Transfer-Encoding before HTTP/1.1.
type framing struct {
	state framingState
	// Of the line that is being read.
	name  []byte // of a header, or the beginning of a request line
	value []byte // without leading blanks
	// Of the request.
	length, encoded bool
	old             bool // before HTTP/1.1
	bad             bool // its length is none
	lost            bool // it does not say how long it is, for which net/http refuses it
	expected        int64
	left            int64 // of the body, or of a chunk
}

type framingState int

const (
	inRequestLine framingState = iota
	inName
	inValue
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

const (
	maxFramingName  = len("transfer-encoding") + 1
	maxFramingValue = 20 // digits; a request line keeps the last so many
)

// follow looks at what was read, and changes it where that is needed.
func (f *framing) follow(p []byte) {
	for i := 0; i < len(p) && !f.lost; i++ {
		switch f.state {
		case inBody, inChunk:
			n := int(min(f.left, int64(len(p)-i)))
			f.left -= int64(n)
			i += n - 1
			if f.left > 0 {
				continue
			}
			if f.state == inBody {
				*f = framing{}
			} else {
				f.state, f.left = inChunkEnd, int64(len("\r\n"))
			}
		case inChunkEnd:
			if f.left--; f.left == 0 {
				f.next(inChunkSize)
			}
		default:
			f.text(&p[i])
		}
	}
}

// next begins a line.
func (f *framing) next(state framingState) { f.state, f.name, f.value = state, f.name[:0], f.value[:0] }

// text follows a byte of a line.
func (f *framing) text(c *byte) {
	if *c == '\n' {
		f.endLine()
		return
	}
	switch f.state {
	case inRequestLine:
		if len(f.value) == maxFramingValue {
			f.value = append(f.value[:0], f.value[1:]...)
		}
		f.value = append(f.value, *c)
	case inName:
		switch {
		case *c == ':':
			if f.header() {
				*c = 0
			}
			f.state = inValue
		case len(f.name) == 0 && (*c == ' ' || *c == '\t'):
			*c = 0
			f.name = append(f.name, 0)
		case len(f.name) < maxFramingName:
			f.name = append(f.name, *c)
		}
	case inValue, inChunkSize, inTrailer:
		switch {
		case len(f.value) == 0 && (*c == ' ' || *c == '\t'):
		case len(f.value) == 1 && f.value[0] == '0':
			f.value[0] = *c // zeros in front say nothing, however many
			if *c == '\r' || *c == ';' {
				f.value = append(f.value[:0], '0', *c)
			}
		case len(f.value) <= maxFramingValue: // else it is too long for a number
			f.value = append(f.value, *c)
		}
	}
}

// header notes the name of a header. It reports whether the request says with it for
// the second time how long it is.
func (f *framing) header() (twice bool) {
	switch {
	case bytes.EqualFold(f.name, []byte("content-length")):
		f.length = true
		return f.encoded
	case bytes.EqualFold(f.name, []byte("transfer-encoding")):
		f.encoded = true
		return f.length || f.old // before 1.1 it is not known
	}
	return false
}

// endLine follows the end of a line.
func (f *framing) endLine() {
	value := bytes.TrimRight(f.value, " \t\r")
	switch f.state {
	case inRequestLine:
		if len(value) > 0 {
			f.old = !bytes.HasSuffix(value, []byte(" HTTP/1.1"))
			f.next(inName)
		}
	case inName:
		if len(bytes.TrimRight(f.name, "\r")) == 0 {
			f.endHead()
			return
		}
		f.next(inName) // a line without a colon, which net/http refuses
	case inValue:
		if bytes.EqualFold(f.name, []byte("content-length")) {
			n, err := strconv.ParseUint(string(value), 10, 63)
			f.expected, f.bad = int64(n), err != nil || f.bad
		}
		f.next(inName)
	case inChunkSize:
		size, _, _ := bytes.Cut(value, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 63)
		f.left, f.lost, f.state = int64(n), err != nil, inChunk
		if n == 0 {
			f.next(inTrailer)
		}
	case inTrailer:
		if len(value) == 0 {
			*f = framing{}
			return
		}
		f.next(inTrailer)
	}
}

// endHead follows the end of the headers.
func (f *framing) endHead() {
	switch {
	case f.bad:
		f.lost = true
	case f.encoded:
		f.next(inChunkSize)
	case f.expected > 0:
		f.state, f.left = inBody, f.expected
	default:
		*f = framing{}
	}
}
