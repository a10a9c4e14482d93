package httpsend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"

	"fanjet/internal/failpoint"
)

const (
	// maxInformational bounds the 1xx answers before the real one.
	maxInformational = 5
	// maxInline is the largest body that is written by the goroutine that reads
	// the response, in bytes. Any TCP takes that much without a reader at its
	// other end, so it is not in the way of an early answer.
	maxInline = 32 << 10
)

// send makes a try over a connection, which it gives back when the response is
// at its end.
//
// The goroutine that makes the attempt also writes the request, in one piece,
// and reads the response: no others are woken. The deadline is the
// connection's, and an interruption closes it.
func (x *Exchange) send(c *conn) (*http.Response, error) {
	x.conn, x.overHTTP2 = c, c.http2 != nil
	_ = c.SetDeadline(x.deadline)
	c.watch(x.Context)
	x.reader.Reset(c)
	c.looks = true
	head, err := x.roundTrip()
	c.looks = false
	if err != nil {
		x.release(c.http2 != nil && c.http2.reusable())
		if x.reused && isTimeout(err) {
			x.idle.close() // whatever swallowed the request may be behind the others as well
		}
		return nil, err
	}
	x.response = http.Response{StatusCode: head.status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: head.length}
	if x.overHTTP2 {
		x.response.ProtoMajor, x.response.ProtoMinor = 2, 0
	}
	x.told = head.told
	if head.retryAfter != "" {
		x.response.Header = http.Header{"Retry-After": {head.retryAfter}}
	}
	if head.length == 0 && x.written() {
		x.response.Body = http.NoBody
		x.release(!head.close)
	} else {
		x.answer.open(head, x.reader, c.http2)
		x.response.Body = &x.answer
	}
	return &x.response, nil
}

// roundTrip writes the request and reads the head of the response.
func (x *Exchange) roundTrip() (responseHead, error) {
	if x.overHTTP2 {
		return x.roundTripStream(x.conn.http2)
	}
	failed := x.write()
	failpoint.Hit(failpoint.RequestSent)
	// Other goroutines that have something to do go first: the answer is not there yet, and
	// to find that out is one more system call. Without others nothing is waited for.
	runtime.Gosched()
	// Who hangs up before it has read everything may have answered.
	head, err := x.readHead()
	if failed != nil {
		head.close = true
		if !x.answered {
			err = failed
		}
	}
	return head, err
}

func (x *Exchange) write() error {
	x.out = x.appendRequest(x.out[:0])
	if len(x.body) <= maxInline {
		x.out = append(x.out, x.body...)
		_, err := x.conn.Write(x.out)
		return err
	}
	x.wrote = make(chan error, 1)
	go func(c net.Conn, parts net.Buffers, done chan<- error) {
		_, err := parts.WriteTo(c)
		done <- err
	}(x.conn.Conn, net.Buffers{x.out, x.body}, x.wrote)
	return nil
}

// written reports whether all of the request was written.
func (x *Exchange) written() bool {
	return x.wrote == nil && (!x.overHTTP2 || x.sent == len(x.body))
}

// readHead reads heads up to that of the final response.
func (x *Exchange) readHead() (responseHead, error) {
	first, err := x.reader.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errNoResponse
		}
		return responseHead{}, err
	}
	x.answered = true
	if first[0] != 'H' {
		return responseHead{}, notHTTP(x.reader)
	}
	limit := maxResponseHeader
	for range 1 + maxInformational {
		if x.in, err = readHead(x.reader, x.in[:0], limit); err != nil {
			return responseHead{}, err
		}
		limit -= len(x.in)
		head, err := parseHead(x.in)
		if err != nil || head.status >= 200 {
			return head, err
		}
		if head.status == http.StatusSwitchingProtocols {
			head.close = true // it now speaks something else
			return head, nil
		}
	}
	return responseHead{}, errInformational
}

var errInformational = errors.New("the receiver sends informational responses only")

// notHTTP says what came instead of a response.
func notHTTP(r *bufio.Reader) error {
	const tlsAlert = 0x15
	begin, _ := r.Peek(min(r.Buffered(), 40))
	if begin[0] == tlsAlert {
		return errors.New("the receiver speaks TLS: its URL must begin with https://")
	}
	return fmt.Errorf("the response is not HTTP/1.1: %.40q", begin)
}

// release gives the connection back, or closes it. The exchange no longer has
// one then, and nobody else uses it for the exchange.
func (x *Exchange) release(keep bool) {
	c := x.conn
	if !keep {
		c.abort()
	}
	if x.wrote != nil {
		if <-x.wrote != nil {
			keep = false
		}
		x.wrote = nil
	}
	unread := x.reader.Buffered()
	x.conn = nil
	x.reader.Reset(nil)
	if keep && unread == 0 && x.Err() == nil {
		x.idle.put(c)
	} else {
		_ = c.Close()
	}
}

// isTimeout reports whether a deadline ended err.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
