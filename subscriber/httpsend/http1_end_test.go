package httpsend

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// Whatever an attempt waits for, its timeout ends it, and so does a shutdown.
func TestAttemptEnds(t *testing.T) {
	t.Parallel()
	// What arrives tells the test that the attempt is under way.
	arrives := func(then func(*rawReceiver, net.Conn)) (func(*rawReceiver, net.Conn), chan struct{}) {
		arrived := make(chan struct{}, 16)
		return func(r *rawReceiver, c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			arrived <- struct{}{}
			then(r, c)
		}, arrived
	}
	for _, tt := range []struct {
		name, scheme string
		body         []byte
		serve        func(*rawReceiver, net.Conn)
	}{
		{"waiting for an answer", "http", []byte("{}"), unread},
		{"reading a status line", "http", nil, drip("H")},
		{"reading a header", "http", nil, drip("HTTP/1.1 200 OK\r\nX: ")},
		{"after an interim response", "http", nil, drip("HTTP/1.1 100 Continue\r\n\r\n")},
		{"writing a large body", "http", bytes.Repeat([]byte("x"), 8<<20), unread},
		{"shaking hands", "https", nil, unread},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			serve, arrived := arrives(tt.serve)
			s := newRawReceiver(t, serve)
			url := strings.Replace(s.url(), "http:", tt.scheme+":", 1)

			sender := testSender(t, url, loopback, func(o *Options) { o.Timeout = 50 * time.Millisecond })
			if r := try(t.Context(), sender, tt.body); r.Class != outcome.ClassTimeout || r.Failure() != "timeout: no response in time" {
				t.Errorf("%+v", r)
			}
			if n := s.connections.Load(); n > 1 {
				t.Errorf("%d connections", n)
			}

			sender = testSender(t, url, loopback, func(o *Options) { o.Timeout = time.Hour })
			ctx, interrupt := context.WithCancelCause(t.Context())
			for len(arrived) > 0 {
				<-arrived
			}
			go func() { <-arrived; interrupt(outcome.ErrInterrupted) }()
			if r := try(ctx, sender, tt.body); r.Class != outcome.ClassInterrupted {
				t.Errorf("%+v", r)
			}
			if r := try(ctx, sender, tt.body); r.Class != outcome.ClassInterrupted {
				t.Errorf("begun after the interruption: %+v", r)
			}
		})
	}
}

// What is left of a response is not waited for after an interruption either,
// and changes nothing of what was decided.
func TestInterruptedWhileReadingTheBody(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		r.read(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
		<-r.done
	})
	sender := testSender(t, s.url(), loopback)
	ctx, interrupt := context.WithCancelCause(t.Context())
	tryThen(ctx, sender, "msg_1", nil, func(r outcome.Result) {
		if r.Class != outcome.Class2xx {
			t.Errorf("%+v", r)
		}
		interrupt(outcome.ErrInterrupted)
	})
	if n := len(sender.transport.idle.conns); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

// An interruption of one attempt does not reach the next one over the same
// connection.
func TestInterruptionOfAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, answering("HTTP/1.1 204 x\r\n\r\n", false))
	sender := testSender(t, s.url(), loopback)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		if r := try(ctx, sender, nil); r.Status != 204 {
			t.Errorf("%+v", r)
		}
		next, cancelNext := context.WithCancel(t.Context())
		tryThen(next, sender, "msg_1", nil, func(r outcome.Result) {
			if r.Status != 204 {
				t.Errorf("%+v", r)
			}
		})
		cancel()
		if r := try(next, sender, nil); r.Status != 204 {
			t.Errorf("%+v", r)
		}
		cancelNext()
	}
}
