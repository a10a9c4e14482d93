package httpsend

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// scripted is a connection over which a receiver sends what was written down
// before, a few bytes at a time, and hangs up.
type scripted struct {
	text   bytes.Reader
	piece  int
	closed bool
}

func (s *scripted) Read(p []byte) (int, error)       { return s.text.Read(p[:min(len(p), s.piece)]) }
func (s *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s *scripted) Close() error                     { s.closed = true; return nil }
func (s *scripted) LocalAddr() net.Addr              { return nil }
func (s *scripted) RemoteAddr() net.Addr             { return nil }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// reading is what became of a whole exchange over one connection.
type reading struct {
	status     int // 0: no response
	retryAfter string
	body       []byte
	whole      bool // the body came to its end
	kept       bool // the connection can be used again
	read       int  // bytes that were taken from the connection
}

// exchangeOver has an attempt read text in pieces.
func exchangeOver(t *testing.T, text []byte, piece int) (out reading) {
	s := &scripted{piece: piece}
	s.text.Reset(text)
	x := newExchange()
	x.Context, x.preamble, x.deadline = t.Context(), new(preamble), time.Now().Add(time.Hour)
	x.idle = &idleConns{max: 1, timeout: time.Hour}
	resp, err := x.send(newConn(s))
	if err == nil {
		out.status, out.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
		out.body, err = io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
		out.whole = err == nil && x.conn == nil
		_ = resp.Body.Close()
	}
	if x.conn != nil {
		t.Error("the exchange still holds its connection")
	}
	c := x.idle.pop()
	x.idle.close()
	out.kept = c != nil
	if out.kept == s.closed {
		t.Errorf("kept %v, closed %v", out.kept, s.closed)
	}
	if c != nil {
		c.detach()
	}
	out.read = len(text) - s.text.Len()
	return out
}

// standardOver has net/http read text in the same way.
func standardOver(text []byte) (out reading) {
	source := bytes.NewReader(text)
	r := bufio.NewReader(source)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			return out
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		out.status, out.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
		out.body, err = io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
		if err == nil {
			n, end := resp.Body.Read(make([]byte, 1))
			out.whole = n == 0 && end == io.EOF
		}
		out.kept = out.whole && !resp.Close && resp.StatusCode >= 200
		out.read = len(text) - source.Len() - r.Buffered()
		return out
	}
}

// FuzzResponse compares with net/http what is taken for a response, for its
// body and for its end. Where they differ, ours must be the stricter: a
// connection that is kept has nothing on it that could pass for the answer to
// the next delivery.
func FuzzResponse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte, piece uint8) {
		ours, standard := exchangeOver(t, text, 1+int(piece)), standardOver(text)
		if ours.status == 0 {
			return
		}
		if ours.status != standard.status {
			t.Fatalf("status %d, net/http %d", ours.status, standard.status)
		}
		if standard.retryAfter != "" && ours.retryAfter != standard.retryAfter {
			t.Errorf("Retry-After %q, net/http %q", ours.retryAfter, standard.retryAfter)
		}
		if ours.whole {
			if !standard.whole || !bytes.Equal(ours.body, standard.body) {
				t.Errorf("a body of %d bytes, net/http %d: %v", len(ours.body), len(standard.body), standard.whole)
			}
		}
		if !ours.kept {
			return
		}
		if !ours.whole || !standard.kept {
			t.Errorf("the connection is kept: %+v, net/http: %+v", ours, standard)
		}
		if ours.read != standard.read {
			t.Errorf("the response ends after %d bytes, for net/http after %d", ours.read, standard.read)
		}
	})
}
