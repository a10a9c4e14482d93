package httpsend

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// lateConn is a connection to a process that is stopped while it reads: the
// deadline runs out, and what came meanwhile waits.
type lateConn struct {
	*net.TCPConn
	arrived <-chan struct{} // closed when it has come
	late    atomic.Bool
}

func (c *lateConn) Read(p []byte) (int, error) {
	if !c.late.Swap(true) {
		<-c.arrived
		return 0, os.ErrDeadlineExceeded
	}
	return c.TCPConn.Read(p)
}

// An answer that waits in the socket when the time is up came in time.
func TestLateProcessReadsTheAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer string
		status int
	}{
		"an answer":        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200},
		"part of one":      {"HTTP/1.1 200 OK\r\nContent-", 0},
		"nothing":          {"", 0},
		"one and no other": {"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{})
			s := newRawReceiver(t, func(r *rawReceiver, c net.Conn) {
				r.read(bufio.NewReader(c))
				_, _ = io.WriteString(c, tt.answer)
				close(arrived)
				<-r.done
			})
			raw, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			tcp := raw.(*net.TCPConn)
			x := newExchange()
			x.Context, x.preamble, x.deadline = t.Context(), &preamble{lines: []byte("POST / HTTP/1.1\r\nHost: x\r\n")}, time.Now().Add(time.Hour)
			x.idle = &idleConns{max: 1, timeout: time.Hour}
			t.Cleanup(x.idle.close)
			resp, err := x.send(newConn(&lateConn{TCPConn: tcp, arrived: arrived}))
			if tt.status == 0 {
				if err == nil || !isTimeout(err) {
					t.Errorf("%v, %v", resp, err)
				}
				return
			}
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("%v, %v", resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
}
