package httpsend

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"time"
)

const (
	// excerptWait is how long the beginning of the body of a failure is waited
	// for. The slot is busy meanwhile.
	excerptWait = 100 * time.Millisecond
	// MaxExcerpt is how much of the body is looked at, in bytes: less than
	// readBuffer.
	MaxExcerpt = 2 << 10
)

// Excerpt returns the beginning of the body of the response that Do returned, up to
// [MaxExcerpt] bytes and as much as comes in a moment, and whether that is all of it. The
// body can still be read from its beginning, or from somewhere behind it: nobody else
// wants what is returned here.
func (x *Exchange) Excerpt(resp *http.Response) (text []byte, whole bool) {
	switch {
	case resp.Body == http.NoBody:
		return nil, true
	case x.answer.stream != nil:
		return x.readAhead(x.answer.stream)
	default:
		return x.peekBody()
	}
}

// readAhead is Excerpt over HTTP/2. What it returns is not read again.
func (x *Exchange) readAhead(s *http2State) (text []byte, whole bool) {
	_ = x.conn.SetReadDeadline(time.Now().Add(excerptWait))
	text = make([]byte, 0, MaxExcerpt)
	for len(text) < cap(text) && (len(s.data) > 0 || !s.open || s.comes()) {
		n, err := x.readStream(s, text[len(text):cap(text)])
		if text = text[:len(text)+n]; err != nil {
			return text, errors.Is(err, io.EOF)
		}
	}
	return text, false
}

// peekBody is Excerpt over HTTP/1.1. It only looks into the buffer of the
// connection, so the answer is read as if nobody had looked.
func (x *Exchange) peekBody() (text []byte, whole bool) {
	_ = x.conn.SetReadDeadline(time.Now().Add(excerptWait))
	a := &x.answer
	want := 1
	if a.left >= 0 {
		want = int(min(a.left, MaxExcerpt))
	}
	for {
		_, err := x.reader.Peek(want)
		come, _ := x.reader.Peek(x.reader.Buffered())
		switch {
		case a.chunks != nil:
			text, whole = unchunk(come)
		case a.left >= 0:
			text, whole = come[:min(int64(len(come)), a.left)], int64(len(come)) >= a.left
		default:
			text, whole = come, err == io.EOF
		}
		if whole || err != nil || a.chunks == nil || len(text) >= MaxExcerpt || len(come) >= readBuffer {
			break
		}
		want = len(come) + 1
	}
	if len(text) > MaxExcerpt {
		text, whole = text[:MaxExcerpt], false
	}
	return bytes.Clone(text), whole
}

// unchunk returns what is in the chunks that have come, and whether the last one
// has.
func unchunk(come []byte) (text []byte, whole bool) {
	text, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(come)))
	return text, err == nil
}
