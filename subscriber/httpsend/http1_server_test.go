package httpsend

import (
	"bufio"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// rawReceiver is a receiver whose every byte a test decides.
type rawReceiver struct {
	net.Listener
	connections atomic.Int32
	requests    atomic.Int32

	mu   sync.Mutex
	open []net.Conn
	wg   sync.WaitGroup
	done chan struct{} // closed when the test is over
}

// newRawReceiver serves each connection, and closes it when serve returns.
func newRawReceiver(t testing.TB, serve func(*rawReceiver, net.Conn)) *rawReceiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rawReceiver{Listener: l, done: make(chan struct{})}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			if !r.add(c) {
				return
			}
			r.wg.Go(func() {
				serve(r, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		close(r.done)
		open := slices.Clone(r.open)
		r.mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
		r.wg.Wait()
	})
	return r
}

func (r *rawReceiver) add(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		_ = c.Close()
		return false
	default:
	}
	r.open = append(r.open, c)
	return true
}

func (r *rawReceiver) url() string { return "http://" + r.Addr().String() + "/hook" }

// read reads one request with its body; nil at the end of the connection.
func (r *rawReceiver) read(b *bufio.Reader) *http.Request {
	req, err := http.ReadRequest(b)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil
	}
	r.requests.Add(1)
	return req
}

// answering answers every request with text, and hangs up after it if told so.
func answering(text string, hangUp bool) func(*rawReceiver, net.Conn) {
	return func(r *rawReceiver, c net.Conn) {
		b := bufio.NewReader(c)
		for r.read(b) != nil {
			if _, err := io.WriteString(c, text); err != nil || hangUp {
				return
			}
		}
	}
}

// unread reads nothing and says nothing.
func unread(r *rawReceiver, _ net.Conn) { <-r.done }

func trust(sender *Sender, roots *x509.CertPool) {
	sender.transport.tls.RootCAs = roots
}
