package main

import "sync"

// arrival is one event at the receiver.
type arrival struct {
	Number int   `json:"n"`
	At     int64 `json:"at"` // Unix time in ns
}

// ledger counts what one endpoint received.
type ledger struct {
	mu sync.Mutex
	received
}

// received is what a ledger found.
type received struct {
	Requests int       `json:"requests"`
	Repeats  int       `json:"repeats"` // of events that had come before
	Last     int64     `json:"last"`    // Unix time in ns of the latest request
	Bits     []uint64  `json:"bits"`    // the events that came, one bit each
	Arrivals []arrival `json:"arrivals,omitempty"`
}

// note enters an event and reports whether it came for the first time.
func (l *ledger) note(n int, at int64, times bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Requests++
	l.Last = max(l.Last, at)
	word, bit := n/64, uint64(1)<<(n%64)
	if word >= len(l.Bits) {
		l.Bits = append(l.Bits, make([]uint64, word+1-len(l.Bits))...)
	}
	if l.Bits[word]&bit != 0 {
		l.Repeats++
		return false
	}
	l.Bits[word] |= bit
	if times {
		l.Arrivals = append(l.Arrivals, arrival{Number: n, At: at})
	}
	return true
}

func (r received) has(n int) bool {
	return n/64 < len(r.Bits) && r.Bits[n/64]&(1<<(n%64)) != 0
}

// faults are pairs of an event and a healthy endpoint that were not exactly
// one request.
type faults struct {
	Missing  int `json:"missing"`  // never came
	Repeated int `json:"repeated"` // came again
	Strange  int `json:"strange"`  // was not published to that endpoint
}

func (f faults) total() int { return f.Missing + f.Repeated + f.Strange }

func (f *faults) add(g faults) {
	f.Missing += g.Missing
	f.Repeated += g.Repeated
	f.Strange += g.Strange
}

// audit compares what the healthy endpoints of a plan received with what was
// published: the events 0 to published[j]-1 of each subject j.
func audit(p plan, published []int, got map[string]received) faults {
	var f faults
	known := make(map[string]bool, len(p.Targets))
	for _, t := range p.Targets {
		known[t.Name] = true
		if t.Behaves != behaveOK {
			continue
		}
		r, n := got[t.Name], published[t.Subject]
		f.Repeated += r.Repeats
		for i := range n {
			if !r.has(i) {
				f.Missing++
			}
		}
		for i := n; i < 64*len(r.Bits); i++ {
			if r.has(i) {
				f.Strange++
			}
		}
	}
	for name, r := range got {
		if !known[name] {
			f.Strange += r.Requests
		}
	}
	return f
}
