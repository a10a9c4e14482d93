package subscriber

import "sync"

// dueSeen is how many retries that came due are remembered.
const dueSeen = 1 << 14

// recentKeys remembers the latest keys that were added. The zero value is ready; it may
// be used concurrently.
type recentKeys struct {
	mu   sync.Mutex
	ring []string // grows up to dueSeen
	next int      // in a full ring
	has  map[string]int
}

func (r *recentKeys) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has == nil {
		r.has = make(map[string]int)
	}
	r.has[key]++
	if len(r.ring) < dueSeen {
		r.ring = append(r.ring, key)
		return
	}
	oldest := r.ring[r.next]
	if r.has[oldest]--; r.has[oldest] == 0 {
		delete(r.has, oldest)
	}
	r.ring[r.next] = key
	r.next = (r.next + 1) % dueSeen
}

func (r *recentKeys) contains(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.has[key] > 0
}

// CameDue reports whether a retry of the delivery with a key came here lately. Its
// schedule is gone then, and the delivery is not.
func (d *Dispatcher) CameDue(key string) bool { return d.direct.due.contains(key) }
