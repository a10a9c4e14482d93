package attempt

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"

	"fanjet/internal/natstest"
	"fanjet/internal/secret"
	"fanjet/internal/wire"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(receiverVariable) != "" {
		serveBench()
		return
	}
	goleak.VerifyTestMain(m, natstest.Leaks()...)
}

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var loopback = egress.Policy{
	AllowHTTP:  true,
	AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}},
	Ports:      []uint16{443},
}

func testEndpoint(t testing.TB, rawURL string, policy egress.Policy, change ...func(*endpoint.Settings)) *Target {
	t.Helper()
	settings := endpoint.Default()
	settings.Name = "test"
	var err error
	if settings.URL, err = url.Parse(rawURL); err != nil {
		t.Fatal(err)
	}
	settings.Secrets = []secret.Value{secret.New(testSecret)}
	for _, f := range change {
		f(&settings)
	}
	ep, err := NewTarget(settings, egress.New(policy, egress.GuardOptions{}), "1.2.3", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ep.CloseIdle)
	return ep
}

func try(ctx context.Context, ep *Target, header nats.Header, body []byte) outcome.Result {
	var out outcome.Result
	env := &wire.Envelope{EventID: "msg_1", Subject: "events.a", Attempt: 3}
	ep.Attempt(ctx, env, header, body, func(r outcome.Result) { out = r })
	return out
}

func receiver(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// Promise 5: the bytes are the producer's.
func TestAttemptSendsTheSignedBytes(t *testing.T) {
	t.Parallel()
	verifier, err := standard.NewWebhook(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("{\"a\": 1 }\n\x00\xff")
	got := make(chan *http.Request, 1)
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if !bytes.Equal(b, body) {
			t.Errorf("body %q", b)
		}
		if err := verifier.VerifyIgnoringTimestamp(b, r.Header); err != nil {
			t.Errorf("signature: %v", err)
		}
		got <- r
	})
	ep := testEndpoint(t, s.URL+"/hook?a=b", loopback, func(e *endpoint.Settings) { e.Headers = http.Header{"X-Team": {"pay"}} })
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	header := nats.Header{
		"Content-Type": {"text/x"}, "traceparent": {parent}, "webhook-id": {"forged"}, "Webhook-Signature": {"forged"},
		"X-Secret": {"internal"}, "Fanjet-Attempt": {"77"}, "baggage": {"k=v"},
	}
	if r := try(t.Context(), ep, header, body); r.Class != outcome.Class2xx || r.Status != 200 || r.Err != nil {
		t.Fatalf("%+v", r)
	}
	r := <-got
	if r.Method != http.MethodPost || r.URL.String() != "/hook?a=b" {
		t.Errorf("%s %s", r.Method, r.URL)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/x", "User-Agent": "Fanjet/1.2.3", "Webhook-Id": "msg_1", "Fanjet-Subject": "events.a",
		"Fanjet-Attempt": "3", "X-Team": "pay", "Traceparent": parent, "X-Secret": "", "Baggage": "", "Accept-Encoding": "",
		"Content-Length": fmt.Sprint(len(body)),
	} {
		if v := strings.Join(r.Header.Values(name), "|"); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
}

func TestEmptyBodyHasLengthZero(t *testing.T) {
	t.Parallel()
	lengths := make(chan int64, 1)
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) { lengths <- r.ContentLength })
	if r := try(t.Context(), testEndpoint(t, s.URL, loopback), nil, nil); r.Class != outcome.Class2xx {
		t.Fatalf("%+v", r)
	}
	if n := <-lengths; n != 0 {
		t.Errorf("content length %d", n)
	}
}

func TestAttemptOutcomes(t *testing.T) {
	t.Parallel()
	var followed atomic.Bool
	elsewhere := receiver(t, func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		status  int
		class   outcome.Class
		after   time.Duration
	}{
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, outcome.Class2xx, 0},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, 307, outcome.Class3xx, 0},
		{"redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[::x")
			w.WriteHeader(302)
		}, 302, outcome.Class3xx, 0},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) }, 429, outcome.Class4xx, 7 * time.Second},
		{"unavailable", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(503) }, 503, outcome.Class5xx, 7 * time.Second},
		{"asks although it must not", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(500) }, 500, outcome.Class5xx, 0},
		{"endless body", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, 200, outcome.Class2xx, 0},
		{"broken body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 200, outcome.Class2xx, 0},
		{"bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 1000 {
				_, _ = z.Write(make([]byte, 1<<16))
			}
			_ = z.Close()
		}, 200, outcome.Class2xx, 0},
		{"header too large", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) }, 0, outcome.ClassConnect, 0},
		{"aborted", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, outcome.ClassConnect, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := receiver(t, tt.handler)
			r := try(t.Context(), testEndpoint(t, s.URL, loopback), nil, []byte("{}"))
			if r.Status != tt.status || r.Class != tt.class || r.RetryAfter != tt.after {
				t.Errorf("%+v", r)
			}
			if (r.Err != nil) != (tt.status == 0) {
				t.Errorf("error %v", r.Err)
			}
			if strings.Contains(r.Failure(), s.URL) {
				t.Errorf("the description has the URL: %s", r.Failure())
			}
		})
	}
	t.Cleanup(func() {
		if followed.Load() {
			t.Error("a redirect was followed")
		}
	})
}

// The outcome is decided by the headers: a body that drips changes nothing.
func TestDecidedBeforeTheBody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	ep := testEndpoint(t, s.URL, loopback)
	ep.Attempt(t.Context(), &wire.Envelope{EventID: "msg_1", Attempt: 1}, nil, nil, func(r outcome.Result) {
		if r.Class != outcome.Class2xx {
			t.Errorf("%+v", r)
		}
		close(release)
	})
}

func TestTimeoutAndInterruption(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 2)
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ep := testEndpoint(t, s.URL, loopback, func(e *endpoint.Settings) { e.Timeout = 50 * time.Millisecond })
	if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != outcome.ClassTimeout {
		t.Errorf("hanging: %+v", r)
	}
	<-arrived
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(outcome.ErrInterrupted) }()
	ep = testEndpoint(t, s.URL, loopback)
	if r := try(ctx, ep, nil, []byte("{}")); r.Class != outcome.ClassInterrupted {
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
			r := try(t.Context(), testEndpoint(t, tt.url, tt.egress), nil, []byte("{}"))
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
	settings := endpoint.Default()
	settings.Name, settings.Secrets = "test", []secret.Value{secret.New(testSecret)}
	settings.URL, _ = url.Parse(s.URL)
	ep, err := NewTarget(settings, egress.New(loopback, egress.GuardOptions{Own: ownListeners(own)}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := try(t.Context(), ep, nil, nil); r.Class != outcome.ClassBlocked {
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
	ep := testEndpoint(t, "http://"+listener.Addr().String(), loopback)
	for i := range 3 {
		if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != outcome.Class2xx {
			t.Fatalf("request %d: %+v", i, r)
		}
	}
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections for 3 requests", n)
	}
	hangUp.Store(true)
	before := connections.Load()
	if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != outcome.ClassConnect {
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

func TestDescribeNamesTheClass(t *testing.T) {
	t.Parallel()
	r := outcome.Result{Class: outcome.ClassConnect, Err: &url.Error{Op: "Post", URL: "http://x/secret", Err: errors.New("EOF")}}
	if got := r.Failure(); got != "connect: EOF" {
		t.Error(got)
	}
	if got := (outcome.Result{Class: outcome.Class5xx, Status: 500}).Failure(); got != "5xx: 500 Internal Server Error" {
		t.Error(got)
	}
	if got := (outcome.Result{Class: outcome.Class2xx, Status: 204}).Failure(); got != "" {
		t.Error(got)
	}
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
	ep := testEndpoint(t, s.URL, loopback)
	attempt := func(id string) (result outcome.Result) {
		ep.Attempt(t.Context(), &wire.Envelope{EventID: id, Attempt: 1}, nil, []byte("{}"), func(r outcome.Result) { result = r })
		return result
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
