package chaos

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"fanjet/internal/ledger"
)

// secret is that of all endpoints.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// arrival is what an endpoint knows when it decides about a request.
type arrival struct {
	context.Context     // ends when the gateway hangs up
	number          int // of the request at this endpoint, from 1
	attempt         int
	body            []byte
}

// behaviour decides which status an endpoint answers; 0: none. It may take its
// time.
type behaviour func(a arrival) int

// receivers are all endpoints, in one server: each has a path. They enter every
// request into the ledger.
type receivers struct {
	server *httptest.Server
	verify *standard.Webhook
	ledger *ledger.Ledger

	mu      sync.Mutex
	behave  map[string]behaviour // one that is not here answers 200
	numbers map[string]int
	working map[string]int // requests that are not answered yet
}

func newReceivers(t testing.TB, l *ledger.Ledger) *receivers {
	t.Helper()
	verify, err := standard.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receivers{verify: verify, ledger: l, behave: map[string]behaviour{}, numbers: map[string]int{}, working: map[string]int{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receivers) address() string { return r.server.Listener.Addr().String() }

// set changes how an endpoint behaves.
func (r *receivers) set(endpoint string, b behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave[endpoint] = b
}

func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	endpoint := strings.TrimPrefix(req.URL.Path, "/")
	attempt, _ := strconv.Atoi(req.Header.Get("Fanjet-Attempt"))
	seen := ledger.Request{Endpoint: endpoint, ID: req.Header.Get("Webhook-Id"), Attempt: attempt, Began: began}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		seen.Cut = true
		r.ledger.End(r.ledger.Begin(seen), 0, time.Now())
		return
	}
	seen.Body = ledger.HashOf(body)
	seen.Forged = r.verify.Verify(body, req.Header)
	entry := r.ledger.Begin(seen)
	behave, number := r.next(endpoint)
	defer r.done(endpoint)
	status := http.StatusOK
	if behave != nil {
		status = behave(arrival{Context: req.Context(), number: number, attempt: attempt, body: body})
	}
	if status == 0 || req.Context().Err() != nil {
		r.ledger.End(entry, 0, time.Now())
		panic(http.ErrAbortHandler) // closes the connection
	}
	// Entered first: the gateway may act on the answer before this returns.
	r.ledger.End(entry, status, time.Now())
	w.WriteHeader(status)
}

// count returns how many requests an endpoint got.
func (r *receivers) count(endpoint string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.numbers[endpoint]
}

// atWork returns how many requests an endpoint is answering.
func (r *receivers) atWork(endpoint string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.working[endpoint]
}

func (r *receivers) done(endpoint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.working[endpoint]--
}

func (r *receivers) next(endpoint string) (behaviour, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numbers[endpoint]++
	r.working[endpoint]++
	return r.behave[endpoint], r.numbers[endpoint]
}

// hold lets the requests of an endpoint wait until release is called; from then
// on it answers 200.
func (r *receivers) hold(endpoint string) (release func()) {
	gate := make(chan struct{})
	r.set(endpoint, func(a arrival) int {
		select {
		case <-gate:
			return http.StatusOK
		case <-a.Done():
			return 0
		}
	})
	return func() { close(gate) }
}

// enough is from which attempt on an endpoint that fails now and then does not:
// by lot, one of very many deliveries would use up its schedule.
const enough = 6

// failing answers a status to every n-th request.
func failing(n, status int) behaviour {
	return func(a arrival) int {
		if a.number%n == 0 && a.attempt < enough {
			return status
		}
		return http.StatusOK
	}
}

// slow answers after some time.
func slow(wait time.Duration) behaviour {
	return func(a arrival) int {
		select {
		case <-time.After(wait):
			return http.StatusOK
		case <-a.Done():
			return 0
		}
	}
}

// always answers a status.
func always(status int) behaviour { return func(arrival) int { return status } }
