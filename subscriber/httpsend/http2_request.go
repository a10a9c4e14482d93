package httpsend

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

// Names and fields that every HPACK decoder knows (RFC 7541, appendix A).
const (
	hpackPost      = 0x80 | 3 // :method: POST
	hpackHTTPS     = 0x80 | 7 // :scheme: https
	hpackAuthority = 1
	hpackPath      = 4
)

// hpackNever begins a field that is not indexed, by nobody on its way either (RFC
// 7541, 6.2.3): there is no state then, and headers may carry credentials.
const hpackNever = 0x10

// preambleBlock is what all requests of an endpoint have in common, in HPACK.
func preambleBlock(target *url.URL, header http.Header) []byte {
	b := []byte{hpackPost, hpackHTTPS, hpackNever | hpackAuthority}
	b = append(appendText(b, target.Host), hpackNever|hpackPath)
	b = appendText(b, target.RequestURI())
	for name, values := range header {
		for _, value := range values {
			b = appendHPACK(b, name, value)
		}
	}
	return b
}

// appendHPACK appends a field. In HTTP/2 names are in lower case.
func appendHPACK(b []byte, name, value string) []byte {
	b = appendInteger(append(b, hpackNever), len(name))
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return appendText(b, strings.Trim(value, " \t")) // which RFC 9113, 8.2.1 forbids
}

// appendText appends text as it is, without Huffman's code.
func appendText(b []byte, text string) []byte { return append(appendInteger(b, len(text)), text...) }

// appendInteger appends the length of a text (RFC 7541, 5.1 and 5.2).
func appendInteger(b []byte, n int) []byte {
	const prefix = 1<<7 - 1
	if n < prefix {
		return append(b, byte(n))
	}
	b = append(b, prefix)
	for n -= prefix; n >= 1<<7; n >>= 7 {
		b = append(b, byte(n)|1<<7)
	}
	return append(b, byte(n))
}

// appendStream appends the request, with as much of its body as the receiver takes,
// as the next stream.
func (x *Exchange) appendStream(b []byte, s *http2State) []byte {
	if s.id == 0 {
		s.id = 1
	} else {
		s.id += 2
	}
	s.open, s.data = true, nil
	s.mayComeStream, s.mayGoStream = maxResponseBody, s.mayGoFirst
	block := append(x.in[:0], x.preamble.block...)
	for _, f := range x.fields {
		block = appendHPACK(block, f.name, f.value)
	}
	var digits [20]byte
	block = appendHPACK(block, "content-length", string(strconv.AppendInt(digits[:0], int64(len(x.body)), 10)))
	x.in = block
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if len(x.body) == 0 {
		flags = http2.FlagHeadersEndStream
	}
	for len(block) > maxFrame {
		b = append(appendFrame(b, kind, flags, s.id, maxFrame), block[:maxFrame]...)
		block = block[maxFrame:]
		kind, flags = http2.FrameContinuation, 0
	}
	b = append(appendFrame(b, kind, flags|http2.FlagHeadersEndHeaders, s.id, len(block)), block...)
	x.sent = 0
	return x.appendData(b, s)
}

// appendData appends as much of what is left of the body as the receiver takes.
func (x *Exchange) appendData(b []byte, s *http2State) []byte {
	for x.sent < len(x.body) && len(b) < maxWrite {
		n := min(int64(len(x.body)-x.sent), s.mayGoConn, s.mayGoStream, maxFrame)
		if n <= 0 {
			break
		}
		flags := http2.Flags(0)
		if x.sent+int(n) == len(x.body) {
			flags = http2.FlagDataEndStream
		}
		b = append(appendFrame(b, http2.FrameData, flags, s.id, int(n)), x.body[x.sent:x.sent+int(n)]...)
		x.sent += int(n)
		s.mayGoConn, s.mayGoStream = s.mayGoConn-n, s.mayGoStream-n
	}
	return b
}

// maxWrite is about how much of a request is written in one piece, in bytes. An
// answer that came meanwhile goes before the next one.
const maxWrite = 32 << 10

// push writes what is left of the body, as far as the receiver takes it, until there
// is something to be read.
func (x *Exchange) push(s *http2State) {
	for s.open && !s.broken && !s.arrived(x.deadline) {
		if s.out = x.appendData(s.out, s); len(s.out) == 0 {
			return
		}
		s.flush()
	}
}
