package subscriber

import (
	"sync"
	"sync/atomic"
	"time"
)

// room bounds the direct deliveries whose events are not settled, all sources together:
// what a crash would repeat, and what waits in memory. The events behind them wait in
// their streams. The zero value has none.
type room struct {
	taken, limit atomic.Int64

	mu    sync.Mutex
	line  []chan struct{} // matchers that wait, the first of them in front
	queue atomic.Int32    // how many
}

// take asks for room for n more, and waits for it, in turn with others. It reports
// whether there was any in time.
func (r *room) take(n int, wait time.Duration) bool {
	if r.queue.Load() == 0 && r.taken.Load() < r.limit.Load() {
		r.taken.Add(int64(n))
		return true
	}
	if wait <= 0 {
		return false
	}
	mine := r.join()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-mine:
		r.taken.Add(int64(n))
	case <-timer.C:
		if !r.leave(mine) {
			r.next() // it was my turn a moment ago
		}
		return false
	}
	if r.taken.Load() < r.limit.Load() {
		r.next()
	}
	return true
}

// join puts somebody at the end of the line.
func (r *room) join() chan struct{} {
	r.mu.Lock()
	mine := make(chan struct{})
	r.line = append(r.line, mine)
	r.queue.Store(int32(len(r.line)))
	r.mu.Unlock()
	if r.low() { // it became so in between
		r.next()
	}
	return mine
}

// leave takes somebody out of the line; false: it was the turn of that one.
func (r *room) leave(mine chan struct{}) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.line {
		if c == mine {
			r.line = append(r.line[:i], r.line[i+1:]...)
			r.queue.Store(int32(len(r.line)))
			return true
		}
	}
	return false
}

// next lets the first of the line go on.
func (r *room) next() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.line) == 0 {
		return
	}
	close(r.line[0])
	r.line = r.line[1:]
	r.queue.Store(int32(len(r.line)))
}

// free gives room back.
func (r *room) free(n int) {
	r.taken.Add(int64(-n))
	if r.queue.Load() > 0 && r.low() {
		r.next()
	}
}

// low reports whether so much is free that who waits may go on: for a while, or it would
// be woken for each.
func (r *room) low() bool {
	limit := r.limit.Load()
	return r.taken.Load() <= limit-limit/4
}
