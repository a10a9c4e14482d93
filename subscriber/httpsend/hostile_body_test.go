package httpsend

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

// drip sends text and then a byte at a time, for ever.
func drip(text string) func(*rawReceiver, net.Conn) {
	return func(r *rawReceiver, c net.Conn) {
		_, err := io.WriteString(c, text)
		for err == nil {
			select {
			case <-time.After(time.Millisecond):
				_, err = c.Write([]byte("1"))
			case <-r.done:
				return
			}
		}
	}
}

// A 2xx counts when its header arrives, once, whatever follows it. The rest is
// read for a moment only, and the connection is not used again.
func TestBodyChangesNothing(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	chunk := "4000\r\n" + strings.Repeat("x", 0x4000) + "\r\n"
	for _, tt := range []struct {
		name, head, then string // then is sent for ever, unless it is empty
		dripping         bool
	}{
		{"endless with a length", ok + "Content-Length: 9223372036854775807\r\n\r\n", chunk, false},
		{"endless in chunks", ok + "Transfer-Encoding: chunked\r\n\r\n", chunk, false},
		{"endless until the end of the connection", ok + "\r\n", chunk, false},
		{"endless chunk", ok + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n", chunk, false},
		{"endless size of a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("0", 4096), false},
		{"endless extension of a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n1;", strings.Repeat("x", 4096), false},
		{"chunks with extensions only", ok + "Transfer-Encoding: chunked\r\n\r\n", "1;" + strings.Repeat("x", 1000) + "\r\ny\r\n", false},
		{"endless trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", false},
		{"size of a chunk beyond all numbers", ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", chunk, false},
		{"size of a chunk below zero", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", chunk, false},
		{"endless and compressed", ok + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, false},
		{"dripping", ok + "Content-Length: 1000000\r\n\r\n", "", true},
		{"dripping chunks", ok + "Transfer-Encoding: chunked\r\n\r\n", "", true},
		{"missing", ok + "Content-Length: 10\r\n\r\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
				if r.read(bufio.NewReader(c)) == nil {
					return
				}
				if tt.dripping {
					drip(tt.head)(r, c)
					return
				}
				_, err := io.WriteString(c, tt.head)
				for err == nil && tt.then != "" {
					_, err = io.WriteString(c, tt.then)
				}
				if err == nil {
					<-r.done
				}
			})
			sender := testSender(t, s.url(), loopback, func(o *Options) { o.Timeout = time.Minute })
			for range 2 {
				if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx || r.Status != 200 || r.Err != nil {
					t.Errorf("%+v", r)
				}
			}
			if n, c := s.requests.Load(), s.connections.Load(); n != 2 || c != 2 {
				t.Errorf("%d requests over %d connections", n, c)
			}
		})
	}
}

// No more of a body is taken from the connection than is read of it, plus what
// chunks need and a buffer.
func TestBodyIsReadWithinBounds(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, text := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(1<<20) + "\r\n\r\n" + strings.Repeat("x", 1<<20),
		"until the end": "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 1<<20),
		"one chunk":     chunked + "100000\r\n" + strings.Repeat("x", 1<<20),
		"trailer":       chunked + "0\r\n" + strings.Repeat("X: y\r\n", 1<<18),
		"extension":     chunked + "1;" + strings.Repeat("x", 1<<20),
		"chunks of one": chunked + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\ny\r\n", 1<<10),
	} {
		got := exchangeOver(t, []byte(text), 1<<20)
		if got.status != 200 || got.kept || got.whole {
			t.Errorf("%s: %+v", name, got)
		}
		if bound := maxResponseHeader + maxResponseBody + 4*readBuffer; got.read > bound {
			t.Errorf("%s: %d bytes were read", name, got.read)
		}
	}
}

// How a receiver deals with a request of 1 MiB.
func TestReceiverDoesNotReadTheRequest(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("x"), 1<<20)
	half := func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			_, _ = io.CopyN(io.Discard, req.Body, 1<<19)
		}
	}
	for _, tt := range []struct {
		name        string
		serve       func(*rawReceiver, net.Conn)
		class       outcome.Class
		connections int32 // of two attempts
	}{
		{"closes after half of it", func(_ *rawReceiver, c net.Conn) { half(c) }, outcome.ClassConnect, 2},
		{"resets after half of it", func(_ *rawReceiver, c net.Conn) { half(c); _ = c.(*net.TCPConn).SetLinger(0) }, outcome.ClassConnect, 2},
		{"answers after half of it, and reads the rest", func(r *rawReceiver, c net.Conn) {
			for b := bufio.NewReader(c); ; {
				req, err := http.ReadRequest(b)
				if err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, req.Body, 1<<19)
				_, _ = io.WriteString(c, "HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n")
				_, _ = io.Copy(io.Discard, req.Body)
			}
		}, outcome.Class2xx, 1},
		{"answers before it reads anything, and reads no more", func(r *rawReceiver, c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
			<-r.done
		}, outcome.Class5xx, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, tt.serve)
			sender := testSender(t, s.url(), loopback, func(o *Options) { o.Timeout = time.Minute })
			body := body
			if tt.class == outcome.Class5xx {
				body = bytes.Repeat(body, 8) // more than TCP takes without a reader
			}
			for range 2 {
				if r := try(t.Context(), sender, body); r.Class != tt.class {
					t.Errorf("%+v", r)
				}
			}
			if n := s.connections.Load(); n != tt.connections {
				t.Errorf("%d connections", n)
			}
		})
	}
}
