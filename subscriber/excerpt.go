package subscriber

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

const (
	// excerptWait is how long the beginning of the body of a failure is waited
	// for. The slot is busy meanwhile.
	excerptWait = 100 * time.Millisecond
	// maxExcerpt is how much of the body is looked at, in bytes: less than
	// readBuffer.
	maxExcerpt = 2 << 10
)

// excerpt returns the beginning of the body of a response, as much as comes in a
// moment, and whether that is all of it. The body can still be read from its
// beginning, or from somewhere behind it: nobody else wants what is returned here.
func (x *exchange) excerpt(resp *http.Response) (text []byte, whole bool) {
	switch {
	case resp.Body == http.NoBody:
		return nil, true
	case x.conn != nil:
		return x.peekBody()
	}
	b := &earlyBody{ReadCloser: resp.Body, done: make(chan struct{})}
	resp.Body = b
	go b.readAhead()
	patience := time.NewTimer(excerptWait)
	defer patience.Stop()
	select {
	case <-b.done:
	case <-patience.C:
	case <-x.Done():
	}
	return b.soFar()
}

// peekBody is excerpt over HTTP/1.1. It only looks into the buffer of the
// connection, so the answer is read as if nobody had looked.
func (x *exchange) peekBody() (text []byte, whole bool) {
	_ = x.conn.SetReadDeadline(time.Now().Add(excerptWait))
	a := &x.answer
	want := 1
	if a.left >= 0 {
		want = int(min(a.left, maxExcerpt))
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
		if whole || err != nil || a.chunks == nil || len(text) >= maxExcerpt || len(come) >= readBuffer {
			break
		}
		want = len(come) + 1
	}
	if len(text) > maxExcerpt {
		text, whole = text[:maxExcerpt], false
	}
	return bytes.Clone(text), whole
}

// unchunk returns what is in the chunks that have come, and whether the last one
// has.
func unchunk(come []byte) (text []byte, whole bool) {
	text, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(come)))
	return text, err == nil
}

// earlyBody is a body over HTTP/2 whose beginning is read ahead by a goroutine.
type earlyBody struct {
	io.ReadCloser
	done chan struct{}

	mu    sync.Mutex
	text  []byte
	whole bool
}

func (b *earlyBody) readAhead() {
	defer close(b.done)
	buf := make([]byte, maxExcerpt)
	for n := 0; n < len(buf); {
		m, err := b.ReadCloser.Read(buf[n:])
		n += m
		b.mu.Lock()
		b.text, b.whole = buf[:n:n], err == io.EOF
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (b *earlyBody) soFar() (text []byte, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text, b.whole
}

// Read implements [io.Reader], for what is behind the beginning.
func (b *earlyBody) Read(p []byte) (int, error) {
	<-b.done
	return b.ReadCloser.Read(p)
}

// Close implements [io.Closer].
func (b *earlyBody) Close() error {
	err := b.ReadCloser.Close()
	<-b.done
	return err
}
