package subscriber

import "sync"

// maxAttempts bounds the attempts of the process: each takes a goroutine, a
// connection and its buffers.
const maxAttempts = 2048

// shareOfFree is how many times the free slots an endpoint may hold. So one
// that is alone gets four fifths of all, n greedy ones share them evenly, and
// some are always left for who holds none yet.
const shareOfFree = 4

// slots shares out the attempts of the process. As long as there are plenty an
// endpoint has as many as its own limit allows; when they become scarce, no
// more than its fair share. slots.mu is taken last, with an endpoint's mu held.
type slots struct {
	total int

	mu      sync.Mutex
	used    int
	waiting []*member // were refused, the longest ago in front; each once
	queued  map[*member]bool
}

func newSlots(total int) *slots { return &slots{total: total, queued: make(map[*member]bool)} }

// take asks for a slot for an endpoint that holds some already. An endpoint
// that is refused is woken when there may be one.
func (s *slots) take(e *member, holds int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if free := s.total - s.used; free <= 0 || holds >= shareOfFree*free {
		if !s.queued[e] {
			s.queued[e] = true
			s.waiting = append(s.waiting, e)
		}
		return false
	}
	s.used++
	return true
}

// inUse is how many are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// putBack returns a slot.
func (s *slots) putBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
}

// wake calls try for the endpoints that were refused, the longest ago first,
// until none is left, or none can get a slot.
func (s *slots) wake(try func(*member)) {
	s.mu.Lock()
	tries := len(s.waiting) // one that is refused again goes to the end
	s.mu.Unlock()
	for ; tries > 0; tries-- {
		e := s.next()
		if e == nil {
			return
		}
		try(e)
	}
}

// next takes the endpoint out of the line that was refused the longest ago;
// nil: there is none, or no slot.
func (s *slots) next() *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 || s.used >= s.total {
		return nil
	}
	e := s.waiting[0]
	s.waiting[0] = nil
	s.waiting = s.waiting[1:]
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
	delete(s.queued, e)
	return e
}
