package httpsend

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
)

// maxTrailer bounds what may follow the last chunk, in bytes.
const maxTrailer = 4 << 10

// answer is the body of a response. Its end gives the connection back.
type answer struct {
	x      *Exchange
	stream *http2State // nil: it came over HTTP/1.1
	chunks io.Reader   // nil: it is not chunked
	left   int64       // bytes that are left if it is not; -1: it ends with the connection
	keep   bool        // the connection can be used again after its end
	ended  error       // what Read returns from now on
}

// open prepares the body that follows a head.
func (a *answer) open(h responseHead, r *bufio.Reader, s *http2State) {
	*a = answer{x: a.x, stream: s, left: h.length, keep: !h.close}
	if h.chunked {
		a.chunks = httputil.NewChunkedReader(r)
	}
}

// Read implements [io.Reader].
func (a *answer) Read(p []byte) (n int, err error) {
	if a.ended != nil {
		return 0, a.ended
	}
	r := a.x.reader
	switch {
	case a.stream != nil:
		n, err = a.x.readStream(a.stream, p)
	case a.chunks != nil:
		n, err = a.chunks.Read(p)
		if errors.Is(err, io.EOF) {
			err = a.trailer(r)
		}
	case a.left < 0:
		n, err = r.Read(p)
	default:
		if int64(len(p)) > a.left {
			p = p[:a.left]
		}
		if len(p) > 0 {
			n, err = r.Read(p)
			a.left -= int64(n)
		}
		if a.left == 0 {
			err = io.EOF
		} else if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		a.ended = err
		a.x.release(a.keeps(err))
	}
	return n, err
}

// keeps reports whether the connection can be used again after the end of the body.
func (a *answer) keeps(end error) bool {
	if a.stream != nil {
		return a.stream.reusable() && (a.x.written() || !errors.Is(end, io.EOF))
	}
	return a.keep && errors.Is(end, io.EOF)
}

// trailer reads what follows the last chunk, and returns io.EOF.
func (a *answer) trailer(r *bufio.Reader) error {
	var err error
	if a.x.in, err = readHead(r, a.x.in[:0], maxTrailer); err != nil {
		return err
	}
	if err := checkTrailer(a.x.in); err != nil {
		return err
	}
	return io.EOF
}

// Close implements [io.Closer]. A connection whose response was not read to its
// end cannot be used again.
func (a *answer) Close() error {
	if a.ended == nil {
		a.ended = http.ErrBodyReadAfterClose
		a.x.release(false)
	}
	return nil
}
