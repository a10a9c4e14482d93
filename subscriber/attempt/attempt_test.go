package attempt

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"

	"fanjet/internal/benchreceiver"
	"fanjet/internal/natstest"
	"fanjet/internal/secret"
	"fanjet/internal/wire"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	benchreceiver.Serve()
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

// trust has a target of [testEndpoint] trust a receiver that has a certificate of these.
func trust(t *testing.T, ep *Target, policy egress.Policy, roots *x509.CertPool) {
	t.Helper()
	o := sending(ep.Settings, egress.New(policy, egress.GuardOptions{}), "1.2.3", nil)
	o.Roots = roots
	var err error
	if ep.sender, err = httpsend.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ep.CloseIdle)
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

// secureReceiver is a receiver with TLS that counts its connections.
func secureReceiver(t *testing.T, http2 bool, h http.HandlerFunc) (s *httptest.Server, roots *x509.CertPool, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	s = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots, connections
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

// The request, byte for byte.
func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		var text []byte
		b := make([]byte, 4096)
		for !bytes.HasSuffix(text, []byte("{}")) {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			text = append(text, b[:n]...)
		}
		got <- string(text)
		_, _ = io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n")
	}()
	ep := testEndpoint(t, "http://"+l.Addr().String()+"/hook?a=b%20c", loopback, func(e *endpoint.Settings) {
		e.Headers = http.Header{"X-Team": {"pay"}, "X-Area": {"é"}}
	})
	env := &wire.Envelope{EventID: "msg_1", Subject: "events.ü\x01", Attempt: 12}
	ep.Attempt(t.Context(), env, nats.Header{"Content-Type": {"text/x"}}, []byte("{}"), func(r outcome.Result) {
		if r.Class != outcome.Class2xx {
			t.Fatalf("%+v", r)
		}
	})
	text := <-got
	begin, rest, _ := strings.Cut(text, "Webhook-Timestamp: ")
	_, end, _ := strings.Cut(rest, "Fanjet-Subject: ")
	if want := "POST /hook?a=b%20c HTTP/1.1\r\nHost: " + l.Addr().String() + "\r\nUser-Agent: Fanjet/1.2.3\r\nX-Area: é\r\nX-Team: pay\r\n" +
		"Content-Type: text/x\r\nWebhook-Id: msg_1\r\n"; begin != want {
		t.Errorf("%q, want %q", begin, want)
	}
	if want := "events.ü?\r\nFanjet-Attempt: 12\r\nContent-Length: 2\r\n\r\n{}"; end != want {
		t.Errorf("%q, want %q", end, want)
	}
}
