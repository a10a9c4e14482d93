package httpsend

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// drainTime bounds how long what is left of a response is still read after it
	// decided an attempt: to keep its connection, and because some receivers end
	// their work when theirs is closed.
	drainTime = time.Second
	// bodyWait is how long an attempt waits for the end of a response, so that the
	// next one of its slot finds the connection. Receivers write the rest at once.
	bodyWait = 100 * time.Millisecond
)

// lingering are the responses of an endpoint that decided their attempts and have
// not come to their end: they hold connections, and no slots.
type lingering struct {
	most time.Duration // that one is read: drainTime
	wait time.Duration // that an attempt waits for its end: bodyWait

	now    atomic.Int64
	likely atomic.Bool // the latest did not end in a moment: the next will not either
}

// Finish ends an exchange, which must not be used any more. It reads what is left of the
// response that Do returned, nil if there was none, within bounds: so that the connection
// can be used again. A response that does not come to its end is not waited for, as the
// slot is wanted.
func (s *Sender) Finish(x *Exchange, resp *http.Response) {
	if resp == nil || resp.Body == http.NoBody {
		s.end(x)
		return
	}
	began, body := time.Now(), resp.Body
	l, limit := &s.transport.lingering, s.transport.idle.limit
	if x.atHand() {
		x.limit(began.Add(min(l.wait, s.timeout)))
		s.swallow(x, body)
		return
	}
	x.limit(began.Add(min(l.most, s.timeout)))
	if l.now.Add(1) > int64(s.slots) || limit.full() {
		l.now.Add(-1)
		_ = body.Close()
		s.end(x)
		return
	}
	limit.add(1)
	// Whose connection ends with the response is not waited for.
	wait := (x.conn == nil || x.answer.keep) && !l.likely.Load()
	done := make(chan struct{})
	go func() {
		whole := s.swallow(x, body)
		l.likely.Store(!whole || time.Since(began) > l.wait)
		limit.add(-1)
		l.now.Add(-1)
		close(done)
	}()
	if !wait {
		return
	}
	patience := time.NewTimer(l.wait)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
		l.likely.Store(true)
	}
}

// swallow reads a body up to its limit, ends the exchange, and reports whether that
// was all of it.
func (s *Sender) swallow(x *Exchange, body io.ReadCloser) (whole bool) {
	_, err := io.CopyN(io.Discard, body, maxResponseBody)
	_ = body.Close()
	s.end(x)
	return errors.Is(err, io.EOF)
}

// atHand reports whether the end of a response was read already, and whether its
// request was written.
func (x *Exchange) atHand() bool {
	switch {
	case x.conn == nil || !x.written():
		return false
	case x.answer.stream != nil:
		return x.answer.stream.endsAtHand()
	case x.answer.chunks != nil:
		rest, _ := x.reader.Peek(x.reader.Buffered())
		return bytes.HasSuffix(rest, []byte("0\r\n\r\n"))
	default:
		return x.answer.left >= 0 && x.answer.left <= int64(x.reader.Buffered())
	}
}
