package httpsend

import (
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// Whatever a receiver sends instead of a head, no more of it is read than a head
// may have, plus a buffer.
func TestHostileHeads(t *testing.T) {
	t.Parallel()
	const ok, end = "HTTP/1.1 200 OK\r\n", "Content-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		name, text string
		status     int // 0: it is no response
		kept       bool
	}{
		{"a line of 1 MiB", ok + "X: " + strings.Repeat("x", 1<<20) + "\r\n" + end, 0, false},
		{"a name of 1 MiB", ok + strings.Repeat("x", 1<<20) + ": y\r\n" + end, 0, false},
		{"a status line of 1 MiB", "HTTP/1.1 200 " + strings.Repeat("x", 1<<20) + "\r\n" + end, 0, false},
		{"1 MiB of header", ok + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1100) + end, 0, false},
		{"1 MiB of continuations", ok + "X: y\r\n" + strings.Repeat(" z\r\n", 1<<18) + end, 0, false},
		{"thousands of headers", ok + strings.Repeat("X: y\r\n", 5000) + end, 200, true},
		{"200,000 headers", ok + strings.Repeat("X: y\r\n", 200_000) + end, 0, false},
		{"100 without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20_000), 0, false},
		{"102 without end", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20_000), 0, false},
		{"103 without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20_000), 0, false},
		{"a 100 with a body", "HTTP/1.1 100 Continue\r\nContent-Length: 38\r\n\r\n" + ok + end, 0, false},
		{"a 103 in chunks", "HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ok + end, 0, false},
		{"a 100 of length 0", "HTTP/1.1 100 Continue\r\n" + end + ok + end, 200, true},
		{"HTTP/0.9", "<html>" + strings.Repeat("hello ", 1<<18), 0, false},
		{"empty lines", strings.Repeat("\r\n", 1<<18) + ok + end, 0, false},
		{"status 99", "HTTP/1.1 99 x\r\n" + end, 0, false},
		{"status 1000", "HTTP/1.1 1000 x\r\n" + end, 0, false},
		{"status of letters", "HTTP/1.1 2OO x\r\n" + end, 0, false},
		{"status with a sign", "HTTP/1.1 +20 x\r\n" + end, 0, false},
		{"status that is negative", "HTTP/1.1 -20 x\r\n" + end, 0, false},
		{"reason of control characters", "HTTP/1.1 200 \x1b[2J\x00\r\n" + end, 200, true}, // it goes nowhere
		{"NUL in a value", ok + "X: a\x00b\r\n" + end, 0, false},
		{"NUL in a name", ok + "X\x00: a\r\n" + end, 0, false},
		{"CR in a value", ok + "X: a\rContent-Length: 5\r\n" + end, 0, false},
		{"CR in a name", ok + "X\r: a\r\n" + end, 0, false},
		{"CR at the end of a value", ok + "X: a\r\r\n" + end, 0, false},
		{"escape in a value", ok + "X: \x1b[31m\r\n" + end, 0, false},
	} {
		for _, piece := range []int{1 << 10, 1 << 20} {
			got := exchangeOver(t, []byte(tt.text), piece)
			if got.status != tt.status || got.kept != tt.kept {
				t.Errorf("%s: %+v", tt.name, got)
			}
			if got.read > maxResponseHeader+readBuffer {
				t.Errorf("%s: %d bytes were read", tt.name, got.read)
			}
		}
	}
}

// The head of a response is awaited for as long as an attempt may take, however
// slowly it comes; what it costs the endpoint is one timeout.
func TestSlowHeadIsATimeout(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, drip("HTTP/1.1 200 OK\r\nX: "))
	sender := testSender(t, s.url(), loopback, func(o *Options) { o.Timeout = 2 * time.Second })
	for range 2 {
		if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassTimeout || r.Status != 0 {
			t.Errorf("%+v", r)
		}
	}
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}
