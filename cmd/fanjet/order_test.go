package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// firsts is a receiver that fails now and then, and remembers the numbers of the
// events that it accepted: each once, by when it was accepted first.
type firsts struct {
	server *httptest.Server

	mu       sync.Mutex
	order    []int
	seen     map[int]bool
	requests int
}

func newFirsts(t *testing.T) *firsts {
	t.Helper()
	f := &firsts{seen: map[int]bool{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	return f
}

func (f *firsts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the gateway was killed
	}
	var event struct{ N int }
	if err := json.Unmarshal(body, &event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.requests++; f.requests%50 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if !f.seen[event.N] {
		f.seen[event.N] = true
		f.order = append(f.order, event.N)
	}
}

func (f *firsts) got() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

// Two gateways share a NATS server, and now the one, now the other is killed in
// the middle of its work. An ordered endpoint gets every event, for the first
// time in the order in which they were published.
func TestKillKeepsOrder(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t, natstest.Options{Listen: true})
	f := newFirsts(t)
	var gateways [2]*gatewayProcess
	for i := range gateways {
		g := newGatewayProcess(t, f.server.Listener.Addr().String(), `
endpoints:
  line: {url: "http://HOOK/line", ordered: true, retry: {schedule: [20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms, 20ms]}}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [line]}]
`)
		text, err := os.ReadFile(g.config)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.Replace(string(text), `nats: {embedded: {store_dir: data, listen: "127.0.0.1:0"}}`, "nats: {url: "+nats.URL()+"}", 1))
		if err := os.WriteFile(g.config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		g.start()
		gateways[i] = g
	}
	js := nats.JetStream()
	published := 0
	publish := func(n int) {
		t.Helper()
		for range n {
			if _, err := js.PublishAsync("events.x", fmt.Appendf(nil, `{"n": %d}`, published), jetstream.WithStallWait(time.Minute)); err != nil {
				t.Fatal(err)
			}
			published++
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-time.After(2 * time.Minute):
			t.Fatal("publishing takes too long")
		}
	}
	const rounds, perRound = 3, 300
	for round := range rounds {
		have := len(f.got())
		publish(perRound / 2)
		waitUntil(t, "the line moves", func() bool { return len(f.got()) > min(have+10, published-1) })
		gateways[round%2].kill()
		publish(perRound / 2)
		gateways[round%2].start()
	}
	waitUntil(t, "everything has arrived", func() bool { return len(f.got()) == published })
	for i, n := range f.got() {
		if n != i {
			t.Fatalf("event %d came in the place of event %d: %v", n, i, f.got()[max(0, i-5):i+5])
		}
	}
	for _, g := range gateways {
		g.terminate()
	}
	t.Logf("%d events, %d requests, %d kills", published, f.requests, rounds)
}
