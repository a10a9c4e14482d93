package admin

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// chunked is a body of one chunk and its end.
func chunked(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

// A request that says twice how long it is, is refused, and the connection closed,
// so that what follows in it is never a request. Others go on. Under TLS, too.
func TestFraming(t *testing.T) {
	t.Parallel()
	const (
		post = "POST /api/v1/endpoints/billing/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
		body = `{"reason": "a: b"}`
		next = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
	)
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	ca, files := newAuthority(t), TLS{filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")}
	ca.issue(files, 100)
	for name, tt := range map[string]struct{ sent, want string }{
		"length":            {post + length + "\r\n" + body + next, "200 200"},
		"chunked":           {post + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "200 200"},
		"chunk extensions":  {post + "Transfer-Encoding: chunked\r\n\r\n0000012;a=b:c\r\n" + body + "\r\n0;x\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\n\r\n" + next, "200 200"},
		"zeros in front":    {post + "Content-Length: " + strings.Repeat("0", 50) + "18\r\n\r\n" + body + next, "200 200"},
		"looks like it":     {post + "X-Content-Length: 5\r\nContent-Length-X: 6\r\nTransfer-Encoding-X: chunked\r\nX: Transfer-Encoding: chunked\r\n" + length + "\r\n" + body + next, "200 200"},
		"body with headers": {next + "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 49\r\n\r\n" + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + next, "200 404 200"},
		"both":              {post + length + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"other order":       {post + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunked(body) + next, "400 end"},
		"other case":        {post + "cOntent-length:0\r\nTRANSFER-ENCODING:chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"apart":             {post + length + "A: b\r\nC: d\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"bare line feeds":   {strings.ReplaceAll(post+length+"Transfer-Encoding: chunked\r\n\r\n", "\r\n", "\n") + chunked(body) + next, "400 end"},
		"right length":      {post + fmt.Sprintf("Content-Length: %d\r\n", len(chunked(body))) + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"to look":           {"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400 end"},
		"the second":        {next + post + length + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "200 400 end"},
		"after a length":    {post + length + "\r\n" + body + post + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunked(body) + next, "200 400 end"},
		"after chunks":      {post + "Transfer-Encoding: chunked\r\n\r\n" + chunked(body) + post + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunked(body) + next, "200 400 end"},
		"folded":            {post + "Content-Length:\r\n 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"old":               {"POST /livez HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body) + next, "400 end"},
		"two lengths":       {post + length + "Content-Length: 3\r\n\r\n" + body + next, "400 end"},
		"no length":         {post + "Content-Length: x\r\n\r\n" + body + next, "400 end"},
		"another encoding":  {post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(body) + next, "501 end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, files := range []TLS{{}, files} {
				s := newServer(t, Settings{Listen: "127.0.0.1:0", TLS: files})
				serve(t, s)
				for _, whole := range []bool{true, false} {
					parts := []string{tt.sent}
					if !whole {
						parts = strings.Split(tt.sent, "")
					}
					got := answers(t, dialAdmin(t, s, ca), parts, len(strings.Fields(tt.want)))
					words := strings.Fields(tt.want)
					if refused := strings.Join(append(words[:max(0, len(words)-2)], "end"), " "); !whole && got == refused {
						continue // what was still being sent met a closed connection, which can take the answer away
					}
					if got != tt.want {
						t.Errorf("TLS: %v, whole: %v: answered %s, want %s", s.secure, whole, got, tt.want)
					}
				}
			}
		})
	}
}

// dialAdmin connects as a client of a listener, whose certificate is of ca.
func dialAdmin(t *testing.T, s *Server, ca *authority) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if s.secure {
		config := ca.trust().TLSClientConfig
		config.ServerName = "127.0.0.1"
		conn = tls.Client(conn, config)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// answers sends the parts of some requests, and returns the status of up to most
// answers, and "end" where the connection ended before. The server hears that nothing
// more comes, so that it waits for nothing, whatever it took for a request.
func answers(t *testing.T, conn net.Conn, parts []string, most int) string {
	t.Helper()
	go func() {
		for _, part := range parts {
			if _, err := io.WriteString(conn, part); err != nil {
				return // it was closed, as it should be
			}
		}
		below := conn
		if secure, ok := conn.(*tls.Conn); ok {
			below = secure.NetConn() // bytes that a server leaves unread take its answer away, an end does not
		}
		_ = below.(*net.TCPConn).CloseWrite()
	}()
	var got []string
	reader := bufio.NewReader(conn)
	for range most {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			got = append(got, "end")
			break
		}
		_, _ = io.Copy(io.Discard, resp.Body) // fails where the connection ends with it
		status := resp.StatusCode
		if status == http.StatusServiceUnavailable {
			status = http.StatusOK // no installation is attached; the request was one
		}
		got = append(got, fmt.Sprint(status))
	}
	return strings.Join(got, " ")
}

var framingNames = regexp.MustCompile(`(?im)^(content-length|transfer-encoding):`)

// Whatever comes, in whatever pieces: no request that net/http reads says twice how
// long it is.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\nContent-Length:\n 5\n\nhelloGET / HTTP/1.0\nContent-Length: 0005\nTransfer-Encoding: chunked\n\n",
		"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "0: \n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole := bytes.Clone(sent)
		(&framing{}).follow(whole)
		apart := bytes.Clone(sent)
		for i, one := 0, (&framing{}); i < len(apart); i++ {
			one.follow(apart[i : i+1])
		}
		if !bytes.Equal(whole, apart) {
			t.Fatalf("in one piece %q, in many %q", whole, apart)
		}
		rest := &countingReader{r: iotest.OneByteReader(bytes.NewReader(whole))}
		reader := bufio.NewReaderSize(rest, 16)
		at := func() int { return rest.n - reader.Buffered() }
		for {
			from := at()
			r, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			names := make(map[string]bool)
			for _, m := range framingNames.FindAllSubmatch(whole[from:at()], -1) {
				names[strings.ToLower(string(m[1]))] = true
			}
			if len(names) > 1 {
				t.Fatalf("%q was read as a request", whole[from:at()])
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
		}
	})
}

// countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}
