package subscriber

import (
	"sync"
	"time"

	"fanjet/dlq"
)

const (
	// letterLinesPer is how many dead letters of one endpoint and reason have a line
	// in the log within letterLinesIn. A name that stopped resolving, or a policy
	// that forbids an address, can make tens of thousands in seconds; all of them
	// are in the dead-letter stream.
	letterLinesPer = 10
	letterLinesIn  = time.Minute
)

// letterLines says which dead letters have a line in the log. The zero value is
// ready; it may be used concurrently.
type letterLines struct {
	mu sync.Mutex
	of map[letterKind]*letterWindow
}

type letterKind struct {
	endpoint string
	reason   dlq.Reason
}

type letterWindow struct {
	began   time.Time
	lines   int
	omitted int // since the latest line
}

// allow reports whether a dead letter has a line, and how many of its kind had
// none since the latest one that had.
func (l *letterLines) allow(endpoint string, reason dlq.Reason, now time.Time) (ok bool, omitted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := letterKind{endpoint, reason}
	w := l.of[kind]
	if w == nil {
		if l.of == nil {
			l.of = make(map[letterKind]*letterWindow)
		}
		w = &letterWindow{began: now}
		l.of[kind] = w
	}
	if now.Sub(w.began) >= letterLinesIn {
		w.began, w.lines = now, 0
	}
	if w.lines == letterLinesPer {
		w.omitted++
		return false, 0
	}
	w.lines++
	omitted, w.omitted = w.omitted, 0
	return true, omitted
}

// forget forgets an endpoint.
func (l *letterLines) forget(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for kind := range l.of {
		if kind.endpoint == endpoint {
			delete(l.of, kind)
		}
	}
}
