package subscriber

import "sync"

// maxAttempts bounds the attempts of the process: each takes a goroutine, a
// connection and its buffers.
const maxAttempts = 2048

// slots shares out the attempts of the process. As long as there are plenty an
// endpoint has as many as its own limit allows; when they become scarce, no
// more than its fair share.
type slots struct {
	total int

	mu      sync.Mutex
	used    int
	holders int         // endpoints that hold any
	waiting []*endpoint // were refused, the longest ago in front; each once
	queued  map[*endpoint]bool
}

func newSlots(total int) *slots { return &slots{total: total, queued: make(map[*endpoint]bool)} }

// scarce is where fair shares begin.
func (s *slots) scarce() int { return s.total * 3 / 4 }

// take asks for a slot for an endpoint that holds some already. An endpoint
// that is refused is woken when there is one.
func (s *slots) take(e *endpoint, holds int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.total || s.used >= s.scarce() && holds >= max(1, s.total/max(1, s.holders)) {
		if !s.queued[e] {
			s.queued[e] = true
			s.waiting = append(s.waiting, e)
		}
		return false
	}
	s.used++
	if holds == 0 {
		s.holders++
	}
	return true
}

// putBack returns a slot of an endpoint that holds so many others.
func (s *slots) putBack(holds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if holds == 0 {
		s.holders--
	}
}

// next returns the endpoint that was refused the longest ago, to be woken now
// that one slot is free; nil: none. more says that there are slots for others.
func (s *slots) next() (e *endpoint, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 || s.used >= s.total {
		return nil, false
	}
	e = s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
	delete(s.queued, e)
	return e, s.used < s.scarce()
}
