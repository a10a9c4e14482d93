package gateway

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"fanjet/dlq"
	"fanjet/subscriber/endpoint"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// hostile is a receiver that speaks HTTP as it likes. It counts what it was
// asked and what it answered 2xx, by webhook-id.
type hostile struct {
	net.Listener
	mu       sync.Mutex
	asked    map[string]int
	answered map[string]int
	open     []net.Conn
	wg       sync.WaitGroup
}

// newHostile serves each connection, and closes it when serve returns.
func newHostile(t *testing.T, serve func(h *hostile, c net.Conn, b *bufio.Reader)) *hostile {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{Listener: l, asked: map[string]int{}, answered: map[string]int{}}
	h.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.open = append(h.open, c)
			h.mu.Unlock()
			h.wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(h, c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.mu.Lock()
		for _, c := range h.open {
			_ = c.Close()
		}
		h.mu.Unlock()
		h.wg.Wait()
	})
	return h
}

// read reads a request and returns its id; empty at the end.
func (h *hostile) read(b *bufio.Reader) string {
	req, err := http.ReadRequest(b)
	if err != nil {
		return ""
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return ""
	}
	id := req.Header.Get("Webhook-Id")
	h.mu.Lock()
	h.asked[id]++
	h.mu.Unlock()
	return id
}

// answer answers 2xx to a request.
func (h *hostile) answer(c net.Conn, id, text string) error {
	h.mu.Lock()
	h.answered[id]++
	h.mu.Unlock()
	_, err := io.WriteString(c, text)
	return err
}

// all returns how many ids were asked, how many answered, and the most requests
// and answers that one id had.
func (h *hostile) all() (asked, answered, mostAsked, mostAnswered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.asked {
		mostAsked = max(mostAsked, n)
	}
	for _, n := range h.answered {
		mostAnswered = max(mostAnswered, n)
	}
	return len(h.asked), len(h.answered), mostAsked, mostAnswered
}

// Beside receivers of every kind of malice a healthy one gets everything while
// they still have theirs in hand. Nothing is lost: each event of each endpoint
// was answered 2xx once, or is a letter that says why in words.
func TestHostileReceivers(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	const n = 20
	w := newWorld(t)

	endless := newHostile(t, func(h *hostile, c net.Conn, b *bufio.Reader) {
		id := h.read(b)
		if id == "" {
			return
		}
		err := h.answer(c, id, ok+"Transfer-Encoding: chunked\r\n\r\n")
		for err == nil {
			_, err = io.WriteString(c, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
		}
	})
	letGo := make(chan struct{}) // the drip goes on until then
	dripping := newHostile(t, func(h *hostile, c net.Conn, b *bufio.Reader) {
		h.read(b)
		_, err := io.WriteString(c, ok+"X: ")
		for err == nil {
			select {
			case <-time.After(5 * time.Millisecond):
				_, err = io.WriteString(c, "y")
			case <-letGo:
				return
			}
		}
	})
	var inside atomic.Int32
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(internal.Close)
	redirecting := newHostile(t, func(h *hostile, c net.Conn, b *bufio.Reader) {
		for h.read(b) != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: "+internal.URL+"/admin\r\nContent-Length: 0\r\n\r\n")
		}
	})
	// Every connection is closed when its second request has arrived.
	forgetful := newHostile(t, func(h *hostile, c net.Conn, b *bufio.Reader) {
		if id := h.read(b); id != "" && h.answer(c, id, ok+"Content-Length: 0\r\n\r\n") == nil {
			h.read(b)
		}
	})
	injecting := newHostile(t, func(h *hostile, c net.Conn, b *bufio.Reader) {
		h.read(b)
		_, _ = io.WriteString(c, "HTTP/1.1 \x1b[2J\u202e\xff\"}\rFanjet-Reason: evil "+strings.Repeat("x", 5000)+"\r\n\r\n")
	})
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("it was reached although nobody knows its certificate")
	}))
	secure.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	secure.StartTLS()
	t.Cleanup(secure.Close)

	w.cfg.Subscriptions[0].Endpoints = []string{"a"}
	add := func(name, target string, change func(*endpoint.Settings)) {
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, name, func(e *endpoint.Settings) {
			e.URL, _ = url.Parse(target)
			e.Retry.Schedule = []time.Duration{10 * time.Millisecond}
			if change != nil {
				change(e)
			}
		}))
		w.cfg.Subscriptions[0].Endpoints = append(w.cfg.Subscriptions[0].Endpoints, name)
	}
	add("endless", "http://"+endless.Addr().String(), nil)
	add("dripping", "http://"+dripping.Addr().String(), func(e *endpoint.Settings) { e.Timeout = time.Minute })
	add("redirecting", "http://"+redirecting.Addr().String(), nil)
	add("forgetful", "http://"+forgetful.Addr().String(), func(e *endpoint.Settings) { e.MaxInFlight = 1 })
	add("injecting", "http://"+injecting.Addr().String(), nil)
	add("untrusted", secure.URL, nil)

	core, logs := observer.New(zap.InfoLevel)
	gw, err := New(Options{Config: w.cfg, Version: "test", Log: zap.New(core), Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w.gw, w.stop = gw, w.launch(gw)
	w.publishMany("events.x", n)

	// The drip has answered nothing yet, and does not have to.
	w.delivered("a", n)
	if _, answered, _, _ := dripping.all(); answered != 0 {
		t.Fatal("the drip has ended")
	}
	close(letGo)
	want := map[string]struct {
		status int
		words  string
	}{
		"dripping":    {0, "connect: unexpected EOF"},
		"redirecting": {307, ""},
		"injecting":   {0, "connect: the response has no valid status"},
		"untrusted":   {0, "unknown authority"},
	}
	letters := w.letters(len(want) * n)
	w.waitFor("the endless one and the forgetful one have answered everything", func() bool {
		_, a, _, _ := endless.all()
		_, b, _, _ := forgetful.all()
		return a == n && b == n
	})
	w.quiet()
	of := map[string]int{}
	for _, l := range letters {
		of[l.Endpoint+" "+l.EventID]++
		says, known := want[l.Endpoint]
		if !known || l.Reason != dlq.ReasonExhausted || l.Attempts != 2 || l.LastStatus != says.status || !strings.Contains(l.LastError, says.words) {
			t.Errorf("%s: %s after %d attempts, %d: %s", l.Endpoint, l.Reason, l.Attempts, l.LastStatus, l.LastError)
		}
		if len(l.LastError) > 512 || strings.ContainsFunc(l.LastError, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
			t.Errorf("%s: %q", l.Endpoint, l.LastError)
		}
	}
	if len(of) != len(want)*n || len(letters) != len(of) {
		t.Errorf("%d letters of %d deliveries", len(letters), len(of))
	}
	if len(w.hook.all()) != n {
		t.Errorf("the healthy endpoint got %d requests", len(w.hook.all()))
	}
	if asked, answered, mostAsked, _ := endless.all(); asked != n || answered != n || mostAsked != 1 {
		t.Errorf("endless: %d asked, %d answered, at most %d times", asked, answered, mostAsked)
	}
	if _, _, mostAsked, mostAnswered := forgetful.all(); mostAsked > 2 || mostAnswered != 1 {
		t.Errorf("forgetful: one was asked %d times, one answered %d times", mostAsked, mostAnswered)
	}
	if inside.Load() != 0 {
		t.Error("the redirect was followed")
	}
	checkHostileLogs(t, logs.All(), want)
}

// checkHostileLogs fails unless each endpoint that failed has an attempt and a
// letter in the log that say why, in one line each.
func checkHostileLogs[V any](t *testing.T, entries []observer.LoggedEntry, failing map[string]V) {
	t.Helper()
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	said := map[string]bool{}
	for _, e := range entries {
		line, err := encoder.EncodeEntry(e.Entry, e.Context)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(line.String(), "\n")
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 2000 {
			t.Errorf("%q", text)
		}
		fields := e.ContextMap()
		if fields["error"] != "" || fields["status"] == int64(307) {
			said[fmt.Sprint(e.Message, " ", fields["endpoint"])] = true
		}
	}
	for name := range failing {
		for _, message := range []string{"attempt", "dead letter"} {
			if !said[message+" "+name] {
				t.Errorf("no line %q says why %s fails: %v", message, name, slices.Sorted(maps.Keys(said)))
			}
		}
	}
}
