package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"fanjet/webhook"
)

// demoHook is a webhook that arrived.
type demoHook struct{ id, subject, attempt string }

// demoReceiver receives for every endpoint of the tour, at /ENDPOINT, and
// verifies what comes. It knows the events by their bodies.
type demoReceiver struct {
	server   *http.Server
	listener net.Listener
	verifier *webhook.Verifier

	mu        sync.Mutex
	down      map[string]bool
	delivered map[demoPair][]demoHook
	ids       map[string]map[string]bool // of an event, as the attempts had them
	failed    int
	bad       []string
	changed   chan struct{} // closed and made anew at each arrival
	echo      io.Writer     // shows what arrives from now on
}

func startDemoReceiver(secret string) (*demoReceiver, error) {
	verifier, err := webhook.NewVerifier(secret)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &demoReceiver{
		listener: listener, verifier: verifier,
		down: map[string]bool{}, delivered: map[demoPair][]demoHook{}, ids: map[string]map[string]bool{},
		changed: make(chan struct{}),
	}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *demoReceiver) addr() string { return r.listener.Addr().String() }

func (r *demoReceiver) close() { _ = r.server.Close() }

// ServeHTTP implements http.Handler.
func (r *demoReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 2<<20))
	if err == nil {
		err = r.verifier.Verify(req.Header, body)
	}
	endpoint := strings.TrimPrefix(req.URL.Path, "/")
	hook := demoHook{id: req.Header.Get("Webhook-Id"), subject: req.Header.Get("Fanjet-Subject"), attempt: req.Header.Get("Fanjet-Attempt")}

	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.bad = append(r.bad, fmt.Sprintf("a request to %s: %v", endpoint, err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	pair := demoPair{event: eventOf(hook.subject, string(body)), endpoint: endpoint}
	if pair.event != "" {
		if r.ids[pair.event] == nil {
			r.ids[pair.event] = map[string]bool{}
		}
		r.ids[pair.event][hook.id] = true
	}
	if r.echo != nil {
		fmt.Fprintf(r.echo, "   %-13s %s  %-27s attempt %s  %s\n", endpoint, hook.id, hook.subject, hook.attempt, body)
	}
	if r.down[endpoint] {
		r.failed++
		http.Error(w, endpoint+" is being updated", http.StatusServiceUnavailable)
		return
	}
	r.delivered[pair] = append(r.delivered[pair], hook)
	close(r.changed)
	r.changed = make(chan struct{})
}

// eventOf finds the sample event; empty: none of them.
func eventOf(subject, data string) string {
	for _, e := range demoEvents {
		if e.subject == subject && e.data == data {
			return e.id
		}
	}
	return ""
}

func (r *demoReceiver) setDown(endpoint string, down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down[endpoint] = down
}

// follow shows on w what arrives from now on.
func (r *demoReceiver) follow(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.echo = w
}

// waitFor waits until the pair was delivered.
func (r *demoReceiver) waitFor(ctx context.Context, pair demoPair) (demoHook, error) {
	for {
		r.mu.Lock()
		hooks, changed := r.delivered[pair], r.changed
		r.mu.Unlock()
		if len(hooks) > 0 {
			return hooks[0], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return demoHook{}, ctx.Err()
		}
	}
}

// demoReport sums up what arrived.
type demoReport struct {
	delivered, failed int
	byPair            map[demoPair]int
	ids               map[string]int // how many webhook-ids an event had
	bad               []string
}

func (r *demoReceiver) report() demoReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := demoReport{failed: r.failed, byPair: map[demoPair]int{}, ids: map[string]int{}, bad: r.bad}
	for pair, hooks := range r.delivered {
		report.byPair[pair] = len(hooks)
		report.delivered += len(hooks)
	}
	for event, ids := range r.ids {
		report.ids[event] = len(ids)
	}
	return report
}

// problems says how the report differs from what should have arrived.
func (r demoReport) problems(want []demoPair) []string {
	problems := append([]string(nil), r.bad...)
	expected := map[demoPair]bool{}
	for _, pair := range want {
		expected[pair] = true
		if n := r.byPair[pair]; n != 1 {
			problems = append(problems, fmt.Sprintf("%s reached %s %d times", pair.event, pair.endpoint, n))
		}
	}
	for pair := range r.byPair {
		if !expected[pair] {
			problems = append(problems, fmt.Sprintf("%q reached %s, which did not subscribe to it", pair.event, pair.endpoint))
		}
	}
	for event, n := range r.ids {
		if n != 1 {
			problems = append(problems, fmt.Sprintf("%s came with %d different webhook-ids", event, n))
		}
	}
	return problems
}
