package intake

import (
	"testing"
	"time"
)

// Consumers that share a stream get sequences with gaps of any size.
func TestRecentRemembersTheLatest(t *testing.T) {
	t.Parallel()
	const limit = 16
	stored := time.Unix(1, 2)
	for _, gap := range []uint64{1, 3, limit, 10 * limit} {
		r := recent{limit: limit}
		const settled = 40
		for i := range uint64(settled) {
			r.add(gap*(i+1), stored)
		}
		for i := range uint64(settled) {
			if got, want := r.has(gap*(i+1), stored), i >= settled-limit; got != want {
				t.Errorf("gap %d, message %d of %d: %v, want %v", gap, i+1, settled, got, want)
			}
		}
		if r.has(gap*settled, stored.Add(1)) || r.has(gap*(settled+1), stored) || r.has(0, time.Time{}) {
			t.Errorf("gap %d: it knows what was never settled", gap)
		}
		if len(r.ring) != limit {
			t.Errorf("gap %d: %d are remembered", gap, len(r.ring))
		}
	}
}
