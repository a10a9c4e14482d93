package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"fanjet/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// run serves until the end of the test and returns the base URL.
func run(t *testing.T, ready func() error) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "fanjet_test_total", Help: "For this test."})
	registry.MustRegister(counter)
	if ready == nil {
		ready = func() error { return nil }
	}
	s, err := New(Options{Settings: Settings{Listen: "127.0.0.1:0"}, Gatherer: registry, Ready: ready})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return "http://" + s.Addr()
}

func do(t *testing.T, method, url string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	url := run(t, func() error { return errors.New("not yet") })
	for _, test := range []struct {
		method, path string
		status       int
		body         string // part of it
	}{
		{"GET", "/livez", 200, "ok\n"}, // alive, though not ready
		{"HEAD", "/livez", 200, ""},
		{"GET", "/metrics", 200, "fanjet_test_total 0"},
		{"GET", "/", 200, "/readyz"},
		{"GET", "/nowhere", 404, ""},
		{"GET", "/livez/more", 404, ""},
		{"POST", "/livez", 405, `"detail":"this path takes only GET, HEAD"`},
		{"DELETE", "/nowhere", 404, ""},
		{"OPTIONS", "/metrics", 405, "only GET, HEAD"},
		{"GET", "/api/v1/endpoints/a/pause", 405, "only POST"},
		{"PUT", "/api/v1/endpoints/a", 405, "only GET, HEAD"},
		{"GET", "/api/v1/endpoints", 503, "starting or stopping"},
	} {
		resp, body := do(t, test.method, url+test.path, nil)
		if resp.StatusCode != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.path, resp.StatusCode, body, test.status, test.body)
		}
		if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s %s: X-Content-Type-Options is %q", test.method, test.path, got)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	asJSON := func(r *http.Request) { r.Header.Set("Accept", "text/html;q=0.1, application/json; q=0.9") }
	for _, test := range []struct {
		name   string
		fault  error
		status int
		text   string
		json   string
	}{
		{"ready", nil, 200, "ok\n", `{"ready":true,"reasons":[]}` + "\n"},
		{
			"one reason", errors.New("nats: not connected"), 503, "not ready\nnats: not connected\n",
			`{"ready":false,"reasons":["nats: not connected"]}` + "\n",
		},
		{
			"two reasons", errors.Join(errors.New("a"), errors.New("b")), 503, "not ready\na\nb\n",
			`{"ready":false,"reasons":["a","b"]}` + "\n",
		},
		{
			"joined inside a sentence", fmt.Errorf("start: %w", errors.Join(errors.New("a"), errors.New("b"))), 503, "not ready\nstart: a\nb\n",
			`{"ready":false,"reasons":["start: a\nb"]}` + "\n",
		},
		{
			"two causes of one sentence", fmt.Errorf("%w and %w", errors.New("a"), errors.New("b")), 503, "not ready\na and b\n",
			`{"ready":false,"reasons":["a and b"]}` + "\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := run(t, func() error { return test.fault })
			resp, body := do(t, "GET", url+"/readyz", nil)
			if resp.StatusCode != test.status || body != test.text {
				t.Errorf("text: %d %q, want %d %q", resp.StatusCode, body, test.status, test.text)
			}
			for _, path := range []string{"/readyz", "/readyz?verbose"} {
				change := asJSON
				if strings.HasSuffix(path, "verbose") {
					change = nil
				}
				resp, body = do(t, "GET", url+path, change)
				if resp.StatusCode != test.status || body != test.json || resp.Header.Get("Content-Type") != "application/json" {
					t.Errorf("JSON of %s: %d %q (%s), want %d %q", path, resp.StatusCode, body, resp.Header.Get("Content-Type"), test.status, test.json)
				}
			}
		})
	}
}

// A name that an attacker's DNS points at 127.0.0.1 is not answered.
func TestHost(t *testing.T) {
	t.Parallel()
	url := run(t, nil)
	for host, status := range map[string]int{
		"localhost":           200,
		"LOCALHOST:8422":      200,
		"127.0.0.1:8422":      200,
		"127.1.2.3":           200,
		"[::1]:8422":          200,
		"[::1]":               200,
		"attacker.example":    421,
		"localhost.attacker":  421,
		"127.0.0.1.nip.io":    421,
		"192.168.0.1:8422":    421,
		"0.0.0.0":             421,
		"localhost:8422:8422": 421,
	} {
		for _, path := range []string{"/readyz", "/metrics", "/"} {
			resp, _ := do(t, "GET", url+path, func(r *http.Request) { r.Host = host })
			if resp.StatusCode != status {
				t.Errorf("Host %s: %s gives %d, want %d", host, path, resp.StatusCode, status)
			}
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	url := run(t, nil)
	resp, _ := do(t, "GET", url+"/livez", func(r *http.Request) { r.Header.Set("X-Big", strings.Repeat("x", maxHeaderBytes+8<<10)) })
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for listen, want := range map[string]string{
		"":                      "must be host:port",
		"127.0.0.1":             "must be host:port",
		":8422":                 "so it needs admin.tokens",
		"0.0.0.0:8422":          "so it needs TLS",
		"[::]:8422":             "admin.hosts must name",
		"10.0.0.1:8422":         "so it needs admin.tokens",
		"example.com:8422":      "must be an IP address",
		taken.Addr().String():   taken.Addr().String() + " is taken by another process",
		"127.0.0.1:no-such-one": "admin.listen",
	} {
		_, err := New(Options{Settings: Settings{Listen: listen}, Gatherer: prometheus.NewRegistry(), Ready: func() error { return nil }})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "admin.listen") {
			t.Errorf("%q: error %v does not say %q", listen, err, want)
		}
	}
	if _, err := New(Options{Settings: Settings{Listen: "127.0.0.1:0"}}); err == nil {
		t.Error("a server without a gatherer")
	}
}

func TestRunFinishesRequests(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	s, err := New(Options{Settings: Settings{Listen: "localhost:0"}, Gatherer: prometheus.NewRegistry(), Ready: func() error {
		close(asked)
		<-answer
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	status := make(chan string, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + s.Addr() + "/readyz")
		if err != nil {
			status <- err.Error()
			return
		}
		resp.Body.Close()
		status <- resp.Status
	}()
	<-asked
	cancel()
	close(answer)
	if got := <-status; got != "200 OK" {
		t.Errorf("a request that was running got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		conn.Close()
		t.Error("still listening after Run")
	}
}
