package source

import (
	"sync"
	"time"

	"fanjet/gateway/topology"
)

// storedTimes remembers when the latest events of a stream were stored. The zero value is
// ready; it may be used concurrently.
type storedTimes struct {
	mu      sync.Mutex
	created time.Time // of the stream
	ring    [2 * topology.MatchWindow]struct {
		sequence uint64
		stored   int64 // Unix nanoseconds
	}
}

func (s *storedTimes) add(created time.Time, sequence uint64, stored time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !created.Equal(s.created) {
		s.created = created
		clear(s.ring[:])
	}
	slot := &s.ring[sequence%uint64(len(s.ring))]
	slot.sequence, slot.stored = sequence, stored.UnixNano()
}

// of returns when an event was stored; zero: it is not known.
func (s *storedTimes) of(created time.Time, sequence uint64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.ring[sequence%uint64(len(s.ring))]
	if !created.Equal(s.created) || slot.sequence != sequence {
		return time.Time{}
	}
	return time.Unix(0, slot.stored)
}
