package webhook_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"fanjet/webhook"
)

// receiver is a Handler under test, with its clock and its sender's.
type receiver struct {
	secret  string
	now     time.Time
	handler http.Handler

	mu       sync.Mutex
	reported []error
}

func newReceiver(t *testing.T, next http.HandlerFunc, change func(*webhook.HandlerOptions)) *receiver {
	t.Helper()
	r := &receiver{secret: webhook.NewSecret(), now: time.Unix(1614265330, 0)}
	o := webhook.HandlerOptions{
		Verifier: mustVerifier(t, r.now.Unix(), r.secret),
		Store:    new(webhook.MemoryStore),
		Report: func(_ *http.Request, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reported = append(r.reported, err)
		},
	}
	if change != nil {
		change(&o)
	}
	h, err := webhook.NewHandler(next, o)
	if err != nil {
		t.Fatal(err)
	}
	r.handler = h
	return r
}

// request makes a webhook as the gateway sends it.
func (r *receiver) request(t *testing.T, id, body string) *http.Request {
	t.Helper()
	signature, err := webhook.Sign(r.secret, id, r.now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks", strings.NewReader(body))
	req.Header = header(id, r.now.Unix(), signature)
	req.Header.Set("fanjet-subject", "events.orders.paid")
	req.Header.Set("fanjet-attempt", "3")
	return req
}

func (r *receiver) send(req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

// serve listens on loopback. net/http's complaints about the handlers of these
// tests are expected.
func (r *receiver) serve() *httptest.Server {
	server := httptest.NewUnstartedServer(r.handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	return server
}

// post sends a webhook over the network. Redirects are not followed.
func (r *receiver) post(t *testing.T, server *httptest.Server) (*http.Response, error) {
	t.Helper()
	in := r.request(t, "msg_1", "a")
	out, err := http.NewRequestWithContext(t.Context(), in.Method, server.URL, in.Body)
	if err != nil {
		t.Fatal(err)
	}
	out.Header = in.Header
	return server.Client().Transport.RoundTrip(out)
}

// expect checks an answer and that the reason was reported, once.
func (r *receiver) expect(t *testing.T, w *httptest.ResponseRecorder, status int, reason error) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status = %d %q, want %d", w.Code, w.Body, status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case reason == nil && len(r.reported) == 0:
	case reason != nil && len(r.reported) == 1 && errors.Is(r.reported[0], reason):
	default:
		t.Errorf("reported %v, want %v", r.reported, reason)
	}
	r.reported = nil
}

func TestHandlerHandsOn(t *testing.T) {
	t.Parallel()
	var got webhook.Delivery
	var body []byte
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		got, _ = webhook.FromContext(req.Context())
		body, _ = io.ReadAll(req.Body)
		if req.ContentLength != int64(len(body)) {
			t.Errorf("ContentLength = %d, the body has %d bytes", req.ContentLength, len(body))
		}
		w.WriteHeader(http.StatusAccepted)
	}, nil)
	req := r.request(t, "msg_1", "the bytes")
	req.ContentLength = -1 // sent in chunks
	r.expect(t, r.send(req), http.StatusAccepted, nil)
	want := webhook.Delivery{ID: "msg_1", Timestamp: r.now, Subject: "events.orders.paid", Attempt: 3}
	if got != want {
		t.Errorf("FromContext = %+v, want %+v", got, want)
	}
	if string(body) != "the bytes" {
		t.Errorf("body = %q", body)
	}
}

func TestHandlerTakesWebhooksOfOtherSenders(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(http.Header){
		"no Fanjet headers":       func(h http.Header) { h.Del("fanjet-subject"); h.Del("fanjet-attempt") },
		"attempt is no number":    func(h http.Header) { h.Del("fanjet-subject"); h.Set("fanjet-attempt", "x") },
		"attempt is not positive": func(h http.Header) { h.Del("fanjet-subject"); h.Set("fanjet-attempt", "-1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got webhook.Delivery
			r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) { got, _ = webhook.FromContext(req.Context()) }, nil)
			req := r.request(t, "msg_1", "")
			change(req.Header)
			r.expect(t, r.send(req), http.StatusOK, nil)
			if want := (webhook.Delivery{ID: "msg_1", Timestamp: r.now}); got != want {
				t.Errorf("FromContext = %+v, want %+v", got, want)
			}
		})
	}
	if _, ok := webhook.FromContext(t.Context()); ok {
		t.Error("FromContext found a webhook where there is none")
	}
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	const limit = 64
	for name, tt := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		reason error
	}{
		"the largest body":        {strings.Repeat("x", limit), nil, http.StatusOK, nil},
		"a body that is larger":   {strings.Repeat("x", limit+1), nil, http.StatusRequestEntityTooLarge, webhook.ErrTooLarge},
		"larger, length not told": {strings.Repeat("x", limit+1), func(r *http.Request) { r.ContentLength = -1 }, http.StatusRequestEntityTooLarge, webhook.ErrTooLarge},
		"a GET":                   {"", func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed, webhook.ErrMethod},
		"no id":                   {"", func(r *http.Request) { r.Header.Del("webhook-id") }, http.StatusBadRequest, webhook.ErrMissingHeader},
		"a bad timestamp":         {"", func(r *http.Request) { r.Header.Set("webhook-timestamp", "now") }, http.StatusBadRequest, webhook.ErrHeader},
		"an old timestamp":        {"", func(r *http.Request) { r.Header.Set("webhook-timestamp", "1") }, http.StatusUnauthorized, webhook.ErrTimestamp},
		"another id":              {"", func(r *http.Request) { r.Header.Set("webhook-id", "msg_2") }, http.StatusUnauthorized, webhook.ErrSignature},
		"another body":            {"a", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("b")) }, http.StatusUnauthorized, webhook.ErrSignature},
		"a body that breaks off":  {"body", func(r *http.Request) { r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)) }, http.StatusBadRequest, webhook.ErrBody},
		"no reading of what cannot be right": {"", func(r *http.Request) {
			r.Header.Del("webhook-signature")
			r.Body = io.NopCloser(iotest.ErrReader(errors.New("was read")))
		}, http.StatusBadRequest, webhook.ErrMissingHeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			called := false
			r := newReceiver(t, func(http.ResponseWriter, *http.Request) { called = true },
				func(o *webhook.HandlerOptions) { o.MaxBody = limit })
			req := r.request(t, "msg_1", tt.body)
			if tt.change != nil {
				tt.change(req)
			}
			w := r.send(req)
			r.expect(t, w, tt.status, tt.reason)
			if called != (tt.status == http.StatusOK) {
				t.Errorf("handler called: %v", called)
			}
			if text := w.Body.String(); len(text) > 200 || strings.Count(text, "\n") > 1 {
				t.Errorf("the answer is not short: %q", text)
			}
			if got := w.Header().Get("Allow"); (got == "POST") != (tt.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow = %q", got)
			}
			// A refused id was never claimed.
			if tt.status != http.StatusOK {
				r.expect(t, r.send(r.request(t, "msg_1", "genuine")), http.StatusOK, nil)
			}
		})
	}
}

// The rest of what a ResponseWriter can do stays within reach.
func TestHandlerUnwraps(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack = %v", err)
			return
		}
		fmt.Fprint(rw, "HTTP/1.1 204 No Content\r\n\r\n")
		if err := errors.Join(rw.Flush(), conn.Close()); err != nil {
			t.Errorf("write the answer: %v", err)
		}
	}, nil)
	server := r.serve()
	defer server.Close()
	res, err := r.post(t, server)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Errorf("status = %d, want what the handler wrote", res.StatusCode)
	}
}

func TestNewHandlerRefusesBadOptions(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	v := mustVerifier(t, 1, webhook.NewSecret())
	for name, make := range map[string]func() (*webhook.Handler, error){
		"no next":     func() (*webhook.Handler, error) { return webhook.NewHandler(nil, webhook.HandlerOptions{Verifier: v}) },
		"no verifier": func() (*webhook.Handler, error) { return webhook.NewHandler(next, webhook.HandlerOptions{}) },
		"negative maximum": func() (*webhook.Handler, error) {
			return webhook.NewHandler(next, webhook.HandlerOptions{Verifier: v, MaxBody: -1})
		},
	} {
		if h, err := make(); err == nil || h != nil {
			t.Errorf("%s: NewHandler = %v, %v, want an error", name, h, err)
		}
	}
}

// The default limit is above the largest event of a NATS server with default
// settings.
func TestHandlerDefaultLimit(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) {}, func(o *webhook.HandlerOptions) { o.Report = nil })
	for size, status := range map[int]int{
		1 << 20:                    http.StatusOK,
		webhook.DefaultMaxBody:     http.StatusOK,
		webhook.DefaultMaxBody + 1: http.StatusRequestEntityTooLarge,
	} {
		body := string(bytes.Repeat([]byte("x"), size))
		r.expect(t, r.send(r.request(t, fmt.Sprint(size), body)), status, nil)
	}
}
