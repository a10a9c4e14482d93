package httpsend

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// waitFor waits for a condition.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited too long until %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// ending has a receiver say its text, and no more.
func ending(text string) func(*rawReceiver, net.Conn) {
	return func(r *rawReceiver, c net.Conn) {
		for b := bufio.NewReader(c); r.read(b) != nil; {
			_, _ = io.WriteString(c, text)
			_, _ = c.Read(make([]byte, 1)) // until it is closed
			return
		}
	}
}

// A response decides an attempt with its headers. One that does not come to its
// end holds a connection for a moment, and not the slot: attempts one after the
// other have several of them open at once.
func TestEndlessResponseHoldsNoSlot(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, text := range map[string]string{
		"no length":               ok + "\r\n",
		"no length, and a body":   ok + "\r\nok",
		"no length, to be closed": ok + "Connection: close\r\n\r\nok",
		"HTTP/1.0":                "HTTP/1.0 200 OK\r\n\r\nok",
		"length":                  ok + "Content-Length: 10\r\n\r\nok",
		"chunks":                  ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
		"trailer":                 ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
		"chunk like an end":       ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n",
		"a failure":               "HTTP/1.1 503 x\r\n\r\nsorry",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const attempts = 4
			s := newRawReceiver(t, ending(text))
			patient := func(o *Options) { o.Slots, o.Timeout = attempts, time.Hour }
			sender := testSender(t, s.url(), loopback, patient)
			sender.transport.lingering.most = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			for range attempts {
				if r := try(ctx, sender, []byte("{}")); r.Status == 0 {
					t.Fatalf("%+v", r)
				}
			}
			want := int64(attempts)
			if name == "chunk like an end" { // which is waited for, but not for long
				want = 0
			}
			if n := sender.transport.lingering.now.Load(); n != want {
				t.Errorf("%d linger", n)
			}
			cancel()
			waitFor(t, "they end with the process", func() bool { return sender.transport.lingering.now.Load() == 0 })

			sender = testSender(t, s.url(), loopback, patient)
			sender.transport.lingering.most = time.Millisecond
			if r := try(t.Context(), sender, nil); r.Status == 0 {
				t.Fatalf("%+v", r)
			}
			waitFor(t, "it is given up", func() bool { return sender.transport.lingering.now.Load() == 0 })
			if n := len(sender.transport.idle.conns); n != 0 {
				t.Errorf("%d connections are kept", n)
			}
		})
	}
}

// No more linger than the endpoint has slots, over either protocol.
func TestFewResponsesLinger(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			s, roots, _ := secureReceiver(t, http2, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "ok")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			sender := testSender(t, s.URL, loopback, func(o *Options) { o.Slots, o.Timeout = 2, time.Hour })
			trust(sender, roots)
			sender.transport.lingering.most = time.Hour
			ctx, cancel := context.WithCancel(t.Context())
			for n := range int64(8) {
				if r := try(ctx, sender, []byte("{}")); r.Status != 200 {
					t.Fatalf("%+v", r)
				}
				if got := sender.transport.lingering.now.Load(); got != min(n+1, 2) {
					t.Errorf("%d of %d linger", got, n+1)
				}
			}
			cancel()
			waitFor(t, "they end with the process", func() bool { return sender.transport.lingering.now.Load() == 0 })
		})
	}
}

// A response whose end comes a little later leaves its connection to the next
// attempt, also when those before it did not end.
func TestResponseThatEndsKeepsItsConnection(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		for b := bufio.NewReader(c); ; {
			req := r.read(b)
			if req == nil {
				return
			}
			_, _ = io.WriteString(c, head)
			if req.Header.Get("Webhook-Id") == "endless" {
				_, _ = c.Read(make([]byte, 1))
				return
			}
			_, _ = io.WriteString(c, "o")
			_, _ = io.WriteString(c, "k")
		}
	})
	sender := testSender(t, s.url(), loopback)
	if r := tryID(t.Context(), sender, "endless"); r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	if !sender.transport.lingering.likely.Load() {
		t.Error("nothing was learnt")
	}
	waitFor(t, "it is known that responses end again", func() bool {
		if r := tryID(t.Context(), sender, "whole"); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
		return !sender.transport.lingering.likely.Load()
	})
	sender.transport.lingering.wait = time.Minute // however slow the machine is
	before := s.connections.Load()
	for range 5 {
		if r := tryID(t.Context(), sender, "whole"); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
	}
	if n := s.connections.Load(); n != before {
		t.Errorf("%d more connections", n-before)
	}
}

// Who answers before it has read the request, and reads no more, holds no slot
// either.
func TestEarlyAnswerHoldsNoSlot(t *testing.T) {
	t.Parallel()
	const attempts = 3
	s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n")
		<-r.done
	})
	sender := testSender(t, s.url(), loopback, func(o *Options) { o.Slots, o.Timeout = attempts, time.Hour })
	sender.transport.lingering.most = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	body := bytes.Repeat([]byte("x"), 16<<20) // more than TCP takes without a reader
	for range attempts {
		if r := try(ctx, sender, body); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
	}
	if n := sender.transport.lingering.now.Load(); n != attempts {
		t.Errorf("%d linger", n)
	}
	cancel()
	waitFor(t, "they end with the process", func() bool { return sender.transport.lingering.now.Load() == 0 })
}

// Its connections count among those that the process keeps; with too many of them
// nothing lingers.
func TestLingeringConnectionsCount(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, ending("HTTP/1.1 200 OK\r\n\r\n"))
	limit := &IdleLimit{max: 1}
	sender := testSender(t, s.url(), loopback, func(o *Options) { o.Idle = limit })
	for range 3 {
		if r := try(t.Context(), sender, nil); r.Status != 200 {
			t.Fatalf("%+v", r)
		}
		if n := limit.kept.Load(); n > 1 {
			t.Errorf("%d are kept", n)
		}
	}
	waitFor(t, "none is kept", func() bool { return limit.kept.Load() == 0 })
}

// The rest of a response that is at hand is read without another goroutine.
func TestAtHand(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                            true,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok":                            false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n":          false,
		"HTTP/1.1 200 OK\r\n\r\nok":                                                 false,
	} {
		s := &scripted{piece: len(text)}
		s.text.Reset([]byte(text))
		x := newExchange()
		x.Context, x.preamble, x.deadline = t.Context(), new(preamble), time.Now().Add(time.Hour)
		x.idle = &idleConns{}
		resp, err := x.send(newConn(s))
		if err != nil {
			t.Fatal(err)
		}
		if got := x.atHand(); got != want {
			t.Errorf("%q: %v", strings.ReplaceAll(text, "\r\n", "|"), got)
		}
		_ = resp.Body.Close()
	}
}
