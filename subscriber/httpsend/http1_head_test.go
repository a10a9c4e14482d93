package httpsend

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzParseHead compares with net/http.
func FuzzParseHead(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n\r\n",
		"HTTP/1.1 204\nConnection: a,\tCLOSE \n\n",
		"HTTP/1.1 503 x\r\nRetry-After: 7\r\nRetry-After: 8\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:\r\n 1\r\n\t2\r\nX : y\r\nContent-Length : 9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\r\n \r\n \r\nY: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX\r\n : y\r\n\r\n",
		"HTTP/1.1 304 x\r\nContent-Length: 01\r\n\r\n",
		"HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/1.2 200 \xff\r\nX: \xff\t\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		head, err := readHead(bufio.NewReaderSize(bytes.NewReader(text), 16), nil, maxResponseHeader)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(text, head) {
			t.Fatalf("read %q", head)
		}
		standard, standardErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(slices.Clone(head))), &http.Request{Method: http.MethodPost})
		h, err := parseHead(slices.Clone(head))
		if err == nil && standardErr != nil {
			t.Fatalf("net/http refuses it: %v", standardErr)
		}
		if standardErr != nil {
			return
		}
		if err != nil {
			// What we refuse, and net/http does not.
			if errors.Is(err, errFolded) || errors.Is(err, errInterimBody) || standard.ProtoMajor != 1 || standard.StatusCode < 100 || strings.HasPrefix(standard.Status, "+") {
				return
			}
			t.Fatalf("net/http accepts it: %v", err)
		}
		if h.status != standard.StatusCode {
			t.Errorf("status %d, net/http %d", h.status, standard.StatusCode)
		}
		if chunked := slices.Equal(standard.TransferEncoding, []string{"chunked"}); h.status >= 200 && h.status != 204 && h.status != 304 {
			if h.chunked != chunked {
				t.Errorf("chunked %v, net/http %v", h.chunked, chunked)
			}
			if h.length != standard.ContentLength {
				t.Errorf("length %d, net/http %d", h.length, standard.ContentLength)
			}
		} else if h.length != 0 || h.chunked {
			t.Errorf("there is a body of %d bytes", h.length)
		}
		if standard.Close && !h.close {
			t.Error("net/http closes the connection")
		}
		if got := standard.Header.Get("Retry-After"); got != h.retryAfter && got != "" {
			t.Errorf("Retry-After %q, net/http %q", h.retryAfter, got)
		}
	})
}

// readHead leaves what follows the head, however small the reads.
func TestReadHead(t *testing.T) {
	t.Parallel()
	text := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100) + "\r\n\r\nbody"
	for _, reader := range []io.Reader{strings.NewReader(text), &oneByte{strings.NewReader(text)}} {
		r := bufio.NewReaderSize(reader, 16)
		head, err := readHead(r, []byte("kept"), maxResponseHeader)
		if err != nil || string(head) != "kept"+strings.TrimSuffix(text, "body") {
			t.Errorf("%q, %v", head, err)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "body" {
			t.Errorf("%q, %v", rest, err)
		}
	}
}

// oneByte reads one byte at a time.
type oneByte struct{ io.Reader }

func (r *oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }
