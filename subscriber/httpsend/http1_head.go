package httpsend

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"fanjet/subscriber/endpoint"
)

var (
	errHeaderTooLarge = errors.New("the header of the response is larger than 64 KiB")
	errNoResponse     = errors.New("the connection was closed before a response")
	errFolded         = errors.New("the response says over several lines where its body ends")
	errInterimBody    = errors.New("the response is informational, and has a body")
)

// responseHead is what an attempt needs to know of the head of a response.
type responseHead struct {
	status     int
	length     int64 // of the body in bytes; -1: it ends with the connection, or is chunked
	chunked    bool
	close      bool   // the connection ends with this response
	retryAfter string // the first of its kind
	told       Told   // of a response that is a failure
}

// Told is what the header of a response says about a failure, for people. Each is the
// first of its kind, in the receiver's words, and cut to 1 KiB; empty: there was none.
type Told struct{ Location, ContentType, ContentEncoding string }

const maxTold = 1 << 10

// readHead appends to buf what comes up to and including the next empty line,
// in all at most limit bytes.
func readHead(r *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	line := len(buf) // where the line that is read begins
	for {
		part, err := r.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case len(buf) > limit:
			return buf, errHeaderTooLarge
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return buf, io.ErrUnexpectedEOF
		case err != nil:
			return buf, err
		case len(trimEOL(buf[line:])) == 0:
			return buf, nil
		}
		line = len(buf)
	}
}

// parseHead parses the head of a response, which ends with an empty line. It
// changes text. It is strict about what says where the body ends, and where
// net/http accepts a response, it reads it like net/http.
func parseHead(text []byte) (responseHead, error) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	h, minor, err := parseStatusLine(trimEOL(line))
	if err != nil {
		return h, err
	}
	p := headParser{head: h, http10: minor == 0, length: -1}
	if err := p.fields(rest); err != nil {
		return h, err
	}
	return p.result()
}

// checkTrailer reports what is wrong with the fields behind the last chunk. It
// changes text. Who leaves out the empty line at the end must not have the next
// response taken for a trailer.
func checkTrailer(text []byte) error {
	if bytes.Count(text, []byte("\n")) != bytes.Count(text, []byte("\r\n")) {
		return errors.New("the response has a trailer with lines that do not end with CR and LF")
	}
	p := headParser{length: -1}
	err := p.fields(text)
	if err == nil && (p.odd || p.lengths > 0 || p.codings > 0) {
		err = errors.New("the response has a trailer that belongs into a header")
	}
	return err
}

func parseStatusLine(line []byte) (h responseHead, minor int, err error) {
	text, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(text) < 5 || !isDigit(text[0]) || text[1] != ' ' {
		return h, 0, fmt.Errorf("the response is not HTTP/1.1: %.40q", line)
	}
	minor = int(text[0] - '0')
	text = bytes.TrimLeft(text[1:], " ")
	code, _, _ := bytes.Cut(text, []byte(" "))
	if len(code) != 3 || code[0] == '0' || !isDigit(code[0]) || !isDigit(code[1]) || !isDigit(code[2]) {
		return h, 0, fmt.Errorf("the response has no valid status: %.40q", line)
	}
	h.status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	return h, minor, nil
}

// nextField cuts the next field from text, with the lines that continue it, if
// it is folded (RFC 9112, 5.2). It is empty at the end.
func nextField(text []byte) (line, rest []byte, folded bool) {
	end := bytes.IndexByte(text, '\n') + 1
	if len(trimEOL(text[:end])) == 0 {
		return nil, nil, false
	}
	for end < len(text) && isBlank(text[end]) {
		folded = true
		for i := end - 1; i >= 0 && (text[i] == '\n' || text[i] == '\r' && i == end-2); i-- {
			text[i] = ' '
		}
		next := bytes.IndexByte(text[end:], '\n') + 1
		if next == 0 {
			return text, nil, folded
		}
		end += next
	}
	return trimEOL(text[:end]), text[end:], folded
}

// headParser collects the fields of a head.
type headParser struct {
	head             responseHead
	http10           bool
	length           int64 // -1: not told
	lengths, codings int   // fields of that name
	chunked          bool
	closes, keeps    bool // what Connection says
	odd              bool // there was a name that says nothing, but may have been meant to
}

// fields reads fields up to an empty line.
func (p *headParser) fields(text []byte) error {
	for {
		first := bytes.IndexByte(text, '\n')
		line, rest, folded := nextField(text)
		if len(line) == 0 {
			return nil
		}
		if folded && !bytes.Contains(line[:min(first, len(line))], []byte(":")) {
			return fmt.Errorf("the response has a malformed header: %.40q", line) // its name goes on in the next line
		}
		framing := p.lengths + p.codings
		if err := p.field(line); err != nil {
			return err
		}
		if folded && p.lengths+p.codings > framing {
			return errFolded
		}
		text = rest
	}
}

func (p *headParser) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || isBlank(name[0]) {
		return fmt.Errorf("the response has a malformed header: %.40q", line)
	}
	for _, c := range name {
		if c == ' ' {
			p.odd = true
		} else if c >= 0x80 || !endpoint.IsToken(rune(c)) {
			return fmt.Errorf("the response has a header with an invalid name: %.40q", name)
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return fmt.Errorf("the response has an invalid value of the header %.40q", name)
		}
	}
	value = bytes.Trim(value, " \t")
	switch len(name) {
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			p.connection(value)
		}
	case len("Location"):
		if bytes.EqualFold(name, []byte("Location")) {
			p.head.tell(&p.head.told.Location, value)
		}
	case len("Content-Type"):
		if bytes.EqualFold(name, []byte("Content-Type")) {
			p.head.tell(&p.head.told.ContentType, value)
		}
	case len("Content-Encoding"):
		if bytes.EqualFold(name, []byte("Content-Encoding")) {
			p.head.tell(&p.head.told.ContentEncoding, value)
		}
	case len("Retry-After"):
		if p.head.retryAfter == "" && bytes.EqualFold(name, []byte("Retry-After")) {
			p.head.retryAfter = string(value)
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			return p.contentLength(value)
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			p.codings++
			p.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	return nil
}

// tell keeps a value for people, unless all is well.
func (h *responseHead) tell(to *string, value []byte) {
	if h.status >= 300 && *to == "" {
		*to = string(value[:min(len(value), maxTold)])
	}
}

func (p *headParser) connection(value []byte) {
	for token := range bytes.SplitSeq(value, []byte(",")) {
		token = bytes.Trim(token, " \t")
		p.closes = p.closes || bytes.EqualFold(token, []byte("close"))
		p.keeps = p.keeps || bytes.EqualFold(token, []byte("keep-alive"))
	}
}

func (p *headParser) contentLength(value []byte) error {
	n, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil {
		return fmt.Errorf("the response has an invalid Content-Length: %.40q", value)
	}
	if p.lengths > 0 && int64(n) != p.length {
		return errors.New("the response has more than one Content-Length")
	}
	p.lengths, p.length = p.lengths+1, int64(n)
	return nil
}

// result draws the conclusions (RFC 9112, 6.3 and 9.3).
func (p *headParser) result() (responseHead, error) {
	h := p.head
	if p.codings > 0 && !p.http10 && (p.codings > 1 || !p.chunked) {
		return h, errors.New("the response has a Transfer-Encoding other than chunked")
	}
	h.close = p.closes || p.http10 && !p.keeps || p.odd
	h.length = p.length
	switch {
	case h.status < 200 && (p.length > 0 || p.codings > 0):
		return h, errInterimBody
	case h.status < 200 || h.status == 204 || h.status == 304:
		h.length = 0
		h.close = h.close || p.length > 0 || p.codings > 0 // a body that must not be there may follow
	case p.codings > 0 && !p.http10:
		h.chunked, h.length = true, -1
		h.close = h.close || p.lengths > 0 // who believed in which is not known
	case p.codings > 0:
		h.close = true // HTTP/1.0 has no such field
	case p.lengths == 0:
		h.close = true
	}
	return h, nil
}

// trimEOL removes the end of a line.
func trimEOL(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isBlank(c byte) bool { return c == ' ' || c == '\t' }
