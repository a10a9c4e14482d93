package httpsend

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// A second response behind the first one is never taken for the answer to the
// next delivery: that is made over a connection of its own, and answered 503.
func TestSecondResponseAnswersNothing(t *testing.T) {
	t.Parallel()
	const ok, second = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		name, text string
		status     int
	}{
		{"behind a length", ok + "Content-Length: 2\r\n\r\nok" + second, 200},
		{"behind chunks", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, 200},
		{"as a trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + second, 200},
		{"behind no content", "HTTP/1.1 204 x\r\n\r\n" + second, 204},
		{"as the body of no content", "HTTP/1.1 204 x\r\nContent-Length: 38\r\n\r\n" + second, 204},
		{"as the body of not modified", "HTTP/1.1 304 x\r\nContent-Length: 38\r\n\r\n" + second, 304},
		{"behind a body that is not read to its end", ok + "Content-Length: 70000\r\n\r\n" + string(bytes.Repeat([]byte("x"), 70000)) + second, 200},
		{"between a length and chunks", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, 200},
		{"between chunks and a length, in HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + second, 200},
		{"behind a length with a space before its colon", ok + "Content-Length: 0\r\nTransfer-Encoding : chunked\r\n\r\n" + second, 200},
		{"behind another protocol", "HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n" + second, 101},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
				for b := bufio.NewReader(c); r.read(b) != nil; {
					text := tt.text
					if r.requests.Load() == 2 {
						text = "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"
					}
					_, _ = io.WriteString(c, text)
				}
			})
			sender := testSender(t, s.url(), loopback)
			if r := try(t.Context(), sender, []byte("{}")); r.Status != tt.status {
				t.Errorf("%+v", r)
			}
			if r := try(t.Context(), sender, []byte("{}")); r.Status != 503 {
				t.Errorf("the second delivery: %+v", r)
			}
			if n, c := s.requests.Load(), s.connections.Load(); n != 2 || c != 2 {
				t.Errorf("%d requests over %d connections", n, c)
			}
		})
	}
}

// A receiver that answers before it was asked has answered. What it says once
// it has read the request answers nothing.
func TestAnswerBeforeTheRequest(t *testing.T) {
	t.Parallel()
	said := make(chan struct{}, 2)
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
		r.read(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		said <- struct{}{}
		<-r.done
	})
	sender := testSender(t, s.url(), loopback)
	for range 2 {
		if r := try(t.Context(), sender, []byte("{}")); r.Status != 503 {
			t.Errorf("%+v", r)
		}
		<-said
	}
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// The first request over a connection is answered, the second one breaks it. It
// is made again, once and over a new connection, unless a byte of an answer came.
func TestConnectionBreaksWhenUsedAgain(t *testing.T) {
	t.Parallel()
	reset := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }
	for _, tt := range []struct {
		name     string
		then     func(net.Conn) // instead of an answer to the second request
		class    outcome.Class
		requests int32
	}{
		{"closed", func(c net.Conn) { _ = c.Close() }, outcome.Class2xx, 3},
		{"reset", reset, outcome.Class2xx, 3},
		{"closed after a byte", func(c net.Conn) { _, _ = io.WriteString(c, "H"); _ = c.Close() }, outcome.ClassConnect, 2},
		{"closed in the head", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); _ = c.Close() }, outcome.ClassConnect, 2},
		{"closed after an informational response", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 100 x\r\n\r\n"); _ = c.Close() }, outcome.ClassConnect, 2},
		{"closed in the body", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
			_ = c.Close()
		}, outcome.Class2xx, 2},
		{"reset in the body", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"); reset(c) }, outcome.Class2xx, 2},
		{"garbage", func(c net.Conn) { _, _ = io.WriteString(c, "\x00\x01\x02\r\n\r\n") }, outcome.ClassConnect, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
				for b := bufio.NewReader(c); r.read(b) != nil; {
					if r.requests.Load() == 2 {
						tt.then(c)
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n")
				}
			})
			sender := testSender(t, s.url(), loopback)
			if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
				t.Errorf("%+v", r)
			}
			r := try(t.Context(), sender, []byte("{}"))
			// A reset throws away what was sent before it, if that was not read yet.
			if r.Class != tt.class && (tt.name != "reset in the body" || r.Class != outcome.ClassConnect) {
				t.Errorf("%+v", r)
			}
			if n := s.requests.Load(); n != tt.requests && (tt.name != "reset in the body" || r.Status != 204) {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A receiver, or what is between, that forgets its connections without a word
// costs one timeout, not one for each connection that is kept.
func TestPeerVanishes(t *testing.T) {
	t.Parallel()
	const kept = 8
	arrived, release := make(chan struct{}, kept), make(chan struct{})
	var vanished atomic.Bool
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		old := !vanished.Load()
		for b := bufio.NewReader(c); r.read(b) != nil; {
			if old && vanished.Load() {
				<-r.done
				return
			}
			arrived <- struct{}{}
			<-release
			_, _ = io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n")
		}
	})
	sender := testSender(t, s.url(), loopback)
	done := make(chan outcome.Result, kept)
	for range kept {
		go func() { done <- try(t.Context(), sender, []byte("{}")) }()
	}
	for range kept {
		<-arrived
	}
	close(release)
	for range kept {
		if r := <-done; r.Class != outcome.Class2xx {
			t.Fatalf("%+v", r)
		}
	}
	vanished.Store(true)
	sender.timeout = 100 * time.Millisecond
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassTimeout {
		t.Errorf("%+v", r)
	}
	sender.timeout = time.Minute
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
		t.Errorf("%+v", r)
	}
	if n := s.connections.Load(); n != kept+1 {
		t.Errorf("%d connections", n)
	}
}
