package httpsend

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/outcome"
)

// Every response is received twice, which shows whether its connection was used
// again.
func TestResponses(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name, text string
		hangUp     bool
		status     int // 0: it is no response
		reused     bool
	}{
		{"length", ok + "Content-Length: 2\r\n\r\nok", false, 200, true},
		{"length zero", ok + "content-length: 0\r\n\r\n", false, 200, true},
		{"length twice", ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", false, 200, true},
		{"length with zeros and spaces", ok + "Content-Length:  \t002 \r\n\r\nok", false, 200, true},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, 200, true},
		{"lines end with LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false, 200, true},
		{"folded header", ok + "X: a\r\n  b\r\n\tc\r\nContent-Length: 2\r\n\r\nok", false, 200, true},
		{"folded length", ok + "Content-Length:\r\n 2\r\n\r\nok", false, 0, false},
		{"folded coding", ok + "Transfer-Encoding: chunked\r\n \r\n\r\n0\r\n\r\n", false, 0, false},
		{"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, 200, true},
		{"chunked with extension and trailer", ok + "Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\nZ: z\r\n\r\n", false, 200, true},
		{"trailer whose lines end with LF", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\n", false, 200, false},
		{"chunked and length", ok + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, 200, false},
		{"chunk of no size", ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", false, 200, false},
		{"endless trailer", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 20_000), true, 200, false},
		{"neither length nor chunks", ok + "\r\nok", true, 200, false},
		{"cut off", ok + "Content-Length: 20\r\n\r\nok", true, 200, false},
		{"chunk cut off", ok + "Transfer-Encoding: chunked\r\n\r\nff\r\nok", true, 200, false},
		{"more than its length", ok + "Content-Length: 2\r\n\r\nok\r\n", false, 200, false},
		{"answers twice at once", strings.Repeat(ok+"Content-Length: 0\r\n\r\n", 2), false, 200, false},
		{"close", ok + "Connection: close\r\nContent-Length: 0\r\n\r\n", false, 200, false},
		{"close in a list", ok + "connection: foo, CLOSE\r\nContent-Length: 0\r\n\r\n", false, 200, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, false},
		{"HTTP/1.0 keep-alive", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", false, 200, true},
		{"HTTP/1.0 chunked", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok", false, 200, false},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", false, 204, true},
		{"no content, with length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", false, 204, false},
		{"no content, with content", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", false, 204, false},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", false, 304, false},
		{"redirect", "HTTP/1.1 308 Permanent Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", false, 308, true},
		{"status that nobody knows", "HTTP/1.1 799 What\r\nContent-Length: 0\r\n\r\n", false, 799, true},
		{"interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", false, 200, true},
		{"too many interim responses", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 6) + ok + "Content-Length: 0\r\n\r\n", false, 0, false},
		{"interim responses too large", strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 4) + ok + "Content-Length: 0\r\n\r\n", false, 0, false},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false, 101, false},
		{"large header", ok + "X: " + strings.Repeat("x", 60<<10) + "\r\nContent-Length: 0\r\n\r\n", false, 200, true},
		{"header too large", ok + "X: " + strings.Repeat("x", 64<<10) + "\r\nContent-Length: 0\r\n\r\n", false, 0, false},
		{"too many headers", ok + strings.Repeat("X: y\r\n", 11_000) + "Content-Length: 0\r\n\r\n", false, 0, false},
		{"body as large as is read", ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", maxResponseBody) + strings.Repeat("x", maxResponseBody), false, 200, true},
		{"larger body", ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", maxResponseBody+1) + strings.Repeat("x", maxResponseBody+1), false, 200, false},
		{"space before the colon", ok + "Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n", false, 200, false},

		{"nothing", "", true, 0, false},
		{"half a head", ok + "Content-Le", true, 0, false},
		{"not HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", false, 0, false},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", false, 0, false},
		{"status too short", "HTTP/1.1 20 OK\r\n\r\n", false, 0, false},
		{"status too small", "HTTP/1.1 099 OK\r\n\r\n", false, 0, false},
		{"no status", "HTTP/1.1\r\n\r\n", false, 0, false},
		{"negative length", ok + "Content-Length: -1\r\n\r\n", false, 0, false},
		{"length with a sign", ok + "Content-Length: +1\r\n\r\nx", false, 0, false},
		{"list of lengths", ok + "Content-Length: 1, 1\r\n\r\nx", false, 0, false},
		{"no length after all", ok + "Content-Length:\r\n\r\n", false, 0, false},
		{"length beyond all numbers", ok + "Content-Length: 9223372036854775808\r\n\r\n", false, 0, false},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nok", false, 0, false},
		{"other coding", ok + "Transfer-Encoding: gzip\r\n\r\n", false, 0, false},
		{"codings", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false, 0, false},
		{"two codings", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 0, false},
		{"no colon", ok + "Content-Length 0\r\n\r\n", false, 0, false},
		{"no name", ok + ": 0\r\n\r\n", false, 0, false},
		{"begins with a continuation", ok + " Content-Length: 0\r\n\r\n", false, 0, false},
		{"invalid name", ok + "Content\x00Length: 0\r\n\r\n", false, 0, false},
		{"invalid value", ok + "X: a\rb\r\nContent-Length: 0\r\n\r\n", false, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRawReceiver(t, answering(tt.text, tt.hangUp))
			sender := testSender(t, s.url(), loopback)
			for range 2 {
				r := try(t.Context(), sender, []byte("{}"))
				if r.Status != tt.status || (r.Err != nil) != (tt.status == 0) {
					t.Fatalf("%+v", r)
				}
				if want := outcome.ClassConnect; tt.status == 0 && r.Class != want {
					t.Errorf("%s, want %s: %v", r.Class, want, r.Err)
				}
			}
			if reused := s.connections.Load() == 1; reused != tt.reused {
				t.Errorf("%d connections", s.connections.Load())
			}
			if n := s.requests.Load(); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestRetryAfterOfRawResponse(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, answering("HTTP/1.1 503 x\r\nRETRY-AFTER:  30 \r\nRetry-After: 40\r\nContent-Length: 0\r\n\r\n", false))
	if r := try(t.Context(), testSender(t, s.url(), loopback), nil); r.RetryAfter != 30*time.Second {
		t.Errorf("%+v", r)
	}
}

func TestHostAndAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"http://[2001:db8::1]/x?y=z": {"POST /x?y=z HTTP/1.1\r\nHost: [2001:db8::1]\r\n", "[2001:db8::1]:80"},
		"https://[::1]:8443":         {"POST / HTTP/1.1\r\nHost: [::1]:8443\r\n", "[::1]:8443"},
		"https://example.com":        {"POST / HTTP/1.1\r\nHost: example.com\r\n", "example.com:443"},
		"http://example.com?e=a%0ab": {"POST /?e=a%0ab HTTP/1.1\r\nHost: example.com\r\n", "example.com:80"},
		"http://example.com:80/%0Aé": {"POST /%0A%C3%A9 HTTP/1.1\r\nHost: example.com:80\r\n", "example.com:80"},
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPreamble(u, nil, "x")
		if err != nil || !strings.HasPrefix(string(p.lines), want[0]) {
			t.Errorf("%s: %q, %v", text, p.lines, err)
		}
		if got := egress.AddressOf(u); got != want[1] {
			t.Errorf("%s: %s", text, got)
		}
	}
	bad := &url.URL{Scheme: "http", Host: "example.com", RawQuery: "a\r\nX: y"}
	if _, err := newPreamble(bad, nil, "x"); err == nil {
		t.Error("a URL with a line break passes")
	}
	good := &url.URL{Scheme: "http", Host: "example.com"}
	for name, value := range map[string]string{"X-A": "a\r\nX-B: b", "X\r\n": "a", "Host": "other", "Content-Length": "0"} {
		if _, err := newPreamble(good, http.Header{name: {value}}, "x"); err == nil {
			t.Errorf("the header %q: %q passes", name, value)
		}
	}
}

// What a stored event carries cannot add a line.
func TestInvalidValueIsNotSent(t *testing.T) {
	t.Parallel()
	s := newRawReceiver(t, answering("HTTP/1.1 204 x\r\n\r\n", false))
	sender := testSender(t, s.url(), loopback)
	for _, id := range []string{"a\r\nX-Evil: 1", "a\nb", "a\x00", "a\x7f"} {
		tryThen(t.Context(), sender, id, nil, func(r outcome.Result) {
			if r.Err == nil || !strings.Contains(r.Err.Error(), "Webhook-Id") {
				t.Errorf("%q: %+v", id, r)
			}
		})
	}
	if n := s.connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A large body is written while the answer is awaited.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 512<<10) // more than any buffer of TCP
	t.Run("arrives", func(t *testing.T) {
		t.Parallel()
		body := body[:512<<10]
		s := newRawReceiver(t, func(_ *rawReceiver, c net.Conn) {
			b := bufio.NewReader(c)
			for {
				req, err := http.ReadRequest(b)
				if err != nil {
					return
				}
				if got, err := io.ReadAll(req.Body); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				_, _ = io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n")
			}
		})
		sender := testSender(t, s.url(), loopback)
		for range 3 {
			if r := try(t.Context(), sender, body); r.Status != 204 {
				t.Errorf("%+v", r)
			}
		}
		if n := s.connections.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("is refused unread", func(t *testing.T) {
		t.Parallel()
		s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n")
			<-r.done
		})
		sender := testSender(t, s.url(), loopback)
		if r := try(t.Context(), sender, body); r.Status != 413 {
			t.Errorf("%+v", r)
		}
		if r := try(t.Context(), sender, nil); r.Status != 413 {
			t.Errorf("%+v", r)
		}
		if n := s.connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("is not read at all", func(t *testing.T) {
		t.Parallel()
		s := newRawReceiver(t, unread)
		sender := testSender(t, s.url(), loopback, func(o *Options) { o.Timeout = 50 * time.Millisecond })
		if r := try(t.Context(), sender, body); r.Class != outcome.ClassTimeout {
			t.Errorf("%+v", r)
		}
	})
}
