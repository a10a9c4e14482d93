package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sink is the receiver, a process of its own. The path of an endpoint says how
// it is treated: /ok/NAME, /hang/NAME and so on.
type sink struct {
	times    bool
	answer   time.Duration
	healthy  atomic.Int64 // events that came to healthy endpoints, repeats apart
	requests atomic.Int64 // everything that came to any endpoint
	open     atomic.Int64 // requests that have begun and are not answered
	ledgers  sync.Map     // name → *ledger
}

// progress is how far the receiver is.
type progress struct {
	Arrived  int `json:"arrived"`  // events at healthy endpoints, repeats apart
	Requests int `json:"requests"` // in total
	Open     int `json:"open"`     // begun and not answered
}

func startSink(j job) (work, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return work{}, err
	}
	s := &sink{times: j.Times, answer: j.Answer}
	server := &http.Server{Handler: s} //nolint:gosec // no timeouts: it lives for one measurement, and on loopback
	go func() { _ = server.Serve(listener) }()
	return work{hello: hello{URL: "http://" + listener.Addr().String()}, stop: server.Close}, nil
}

// ServeHTTP implements [http.Handler].
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now().UnixNano()
	behaves, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch behaves {
	case "progress":
		_ = json.NewEncoder(w).Encode(progress{
			Arrived: int(s.healthy.Load()), Requests: int(s.requests.Load()), Open: int(s.open.Load()),
		})
		return
	case "report":
		_ = json.NewEncoder(w).Encode(s.report())
		return
	}
	s.requests.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	var head [headLength]byte
	read, _ := io.ReadFull(r.Body, head[:])
	n, ok := number(head[:read])
	if _, err := io.Copy(io.Discard, r.Body); err != nil || !ok {
		http.Error(w, "this is no event of the benchmark", http.StatusBadRequest)
		return
	}
	if s.ledger(name).note(n, at, s.times) && behaves == behaveOK {
		s.healthy.Add(1)
	}
	switch behaves {
	case behaveOK:
		_ = wait(r.Context(), time.Now().Add(s.answer)) // a client that went does not read the answer
	case behave500:
		w.WriteHeader(http.StatusInternalServerError)
	case behaveHang:
		<-r.Context().Done()
	case behaveSlow:
		_ = wait(r.Context(), time.Now().Add(slowAnswer))
	case behaveDrip:
		dripAnswer(w)
	case behaveBody:
		dripBody(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *sink) ledger(name string) *ledger {
	if l, ok := s.ledgers.Load(name); ok {
		return l.(*ledger)
	}
	l, _ := s.ledgers.LoadOrStore(name, &ledger{})
	return l.(*ledger)
}

func (s *sink) report() map[string]received {
	all := make(map[string]received)
	s.ledgers.Range(func(name, l any) bool {
		ledger := l.(*ledger)
		ledger.mu.Lock()
		defer ledger.mu.Unlock()
		got := ledger.received
		got.Bits = append([]uint64(nil), got.Bits...)
		all[name.(string)] = got
		return true
	})
	return all
}
