package httpsend

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"fanjet/internal/benchreceiver"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	benchreceiver.Serve()
	goleak.VerifyTestMain(m)
}

var loopback = egress.Policy{
	AllowHTTP:  true,
	AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}},
	Ports:      []uint16{443},
}

// testSender sends to a URL under a policy.
func testSender(t testing.TB, rawURL string, policy egress.Policy, change ...func(*Options)) *Sender {
	t.Helper()
	return testSenderBehind(t, rawURL, egress.New(policy, egress.GuardOptions{}), change...)
}

// testSenderBehind sends to a URL as far as a guard lets it.
func testSenderBehind(t testing.TB, rawURL string, guard *egress.Guard, change ...func(*Options)) *Sender {
	t.Helper()
	usual := endpoint.Default()
	o := Options{UserAgent: "Fanjet/1.2.3", Timeout: usual.Timeout, Slots: usual.MaxInFlight, Guard: guard}
	var err error
	if o.URL, err = url.Parse(rawURL); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.CloseIdle)
	return s
}

// try sends a request, and returns what became of it.
func try(ctx context.Context, s *Sender, body []byte) outcome.Result {
	return tryThen(ctx, s, "msg_1", body, func(outcome.Result) {})
}

// tryID sends a request of an event, without a body.
func tryID(ctx context.Context, s *Sender, id string) outcome.Result {
	return tryThen(ctx, s, id, nil, func(outcome.Result) {})
}

// tryThen sends a request as an attempt does: it looks at the beginning of the body of
// a failure, and calls decided before the rest of the response is read.
func tryThen(ctx context.Context, s *Sender, id string, body []byte, decided func(outcome.Result)) (out outcome.Result) {
	out.Began = time.Now()
	x := s.Begin(ctx, out.Began, body)
	x.Set("Webhook-Id", id)
	resp, err := s.Do(x)
	out.Resent = x.Resent()
	if err != nil {
		out.Fail(err)
	} else {
		out.Status, out.Class = resp.StatusCode, outcome.StatusClass(resp.StatusCode)
		out.RetryAfter, _ = outcome.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now())
		if out.Class != outcome.Class2xx {
			text, _ := x.Excerpt(resp)
			out.Told = string(text)
		}
	}
	decided(out)
	s.Finish(x, resp)
	return out
}

func receiver(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestEmptyBodyHasLengthZero(t *testing.T) {
	t.Parallel()
	lengths := make(chan int64, 1)
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) { lengths <- r.ContentLength })
	if r := try(t.Context(), testSender(t, s.URL, loopback), nil); r.Class != outcome.Class2xx {
		t.Fatalf("%+v", r)
	}
	if n := <-lengths; n != 0 {
		t.Errorf("content length %d", n)
	}
}

func TestTimeoutAndInterruption(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 2)
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	sender := testSender(t, s.URL, loopback, func(o *Options) { o.Timeout = 50 * time.Millisecond })
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassTimeout {
		t.Errorf("hanging: %+v", r)
	}
	<-arrived
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(outcome.ErrInterrupted) }()
	sender = testSender(t, s.URL, loopback)
	if r := try(ctx, sender, []byte("{}")); r.Class != outcome.ClassInterrupted {
		t.Errorf("interrupted: %+v", r)
	}
}

func TestNoResponse(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("a blocked address was reached") })
	plainAsTLS := receiver(t, func(http.ResponseWriter, *http.Request) {})
	strict := egress.Policy{AllowHTTP: true, Ports: []uint16{80, 443}}
	for _, tt := range []struct {
		name, url string
		egress    egress.Policy
		want      outcome.Class
	}{
		{"certificate of nobody we trust", secure.URL, loopback, outcome.ClassTLS},
		{"no TLS there", strings.Replace(plainAsTLS.URL, "http:", "https:", 1), loopback, outcome.ClassTLS},
		{"nobody listens", "http://127.0.0.1:1", loopback, outcome.ClassConnect},
		{"no such name", "http://name.invalid", loopback, outcome.ClassDNS},
		{"loopback", plain.URL, strict, outcome.ClassBlocked},
		{"loopback by name", strings.Replace(plain.URL, "127.0.0.1", "localhost", 1), strict, outcome.ClassBlocked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := try(t.Context(), testSender(t, tt.url, tt.egress), []byte("{}"))
			if r.Class != tt.want || r.Status != 0 || r.Err == nil {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestOwnListenersAreRefused(t *testing.T) {
	t.Parallel()
	s := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("our own listener was reached") })
	own := netip.MustParseAddrPort(s.Listener.Addr().String())
	sender := testSenderBehind(t, s.URL, egress.New(loopback, egress.GuardOptions{Own: ownListeners(own)}))
	if r := try(t.Context(), sender, nil); r.Class != outcome.ClassBlocked {
		t.Errorf("%+v", r)
	}
}

// A kept-alive connection that the receiver closed meanwhile costs no attempt;
// a receiver that closes every connection without an answer does.
func TestDeadConnectionIsRetriedOnceAtOnce(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var connections atomic.Int32
	var hangUp atomic.Bool
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go answerOnce(conn, &hangUp)
		}
	}()
	sender := testSender(t, "http://"+listener.Addr().String(), loopback)
	for i := range 3 {
		if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.Class2xx {
			t.Fatalf("request %d: %+v", i, r)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
	hangUp.Store(true)
	before := connections.Load()
	if r := try(t.Context(), sender, []byte("{}")); r.Class != outcome.ClassConnect {
		t.Errorf("hung up: %+v", r)
	}
	if n := connections.Load() - before; n > 2 {
		t.Errorf("%d more connections", n)
	}
}

// answerOnce answers the first request of a connection, reads the second one
// and hangs up.
func answerOnce(conn net.Conn, hangUp *atomic.Bool) {
	defer func() { _ = conn.Close() }()
	read := func() bool {
		buf := make([]byte, 4096)
		var all []byte
		for !bytes.HasSuffix(all, []byte("{}")) {
			n, err := conn.Read(buf)
			if err != nil {
				return false
			}
			all = append(all, buf[:n]...)
		}
		return true
	}
	if !read() || hangUp.Load() {
		return
	}
	_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	read()
}

// An attempt that fails closes no connection but its own.
func TestFailureKeepsOtherConnections(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Webhook-Id") {
		case "msg_fails":
			panic(http.ErrAbortHandler)
		case "msg_waits":
			arrived <- struct{}{}
			<-release
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	sender := testSender(t, s.URL, loopback)
	attempt := func(id string) outcome.Result {
		return tryThen(t.Context(), sender, id, []byte("{}"), func(outcome.Result) {})
	}
	// Three connections, all idle in the end.
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() { attempt("msg_waits") })
		<-arrived
	}
	attempt("msg_passes")
	close(release)
	waiting.Wait()
	if n := connections.Load(); n != 3 {
		t.Fatalf("%d connections", n)
	}
	// One attempt fails on one of them, and its retry on another.
	if r := attempt("msg_fails"); r.Class != outcome.ClassConnect {
		t.Fatalf("%+v", r)
	}
	before := connections.Load()
	for range 3 {
		attempt("msg_passes")
	}
	if n := connections.Load() - before; n != 0 {
		t.Errorf("%d new connections although one was left", n)
	}
}
