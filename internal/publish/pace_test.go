package publish

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	largest := func(p *pace) int {
		n := 0
		for i := 2; i <= 2*maxSingles; i++ {
			if p.oneByOne(i) {
				n = i
			}
		}
		return n
	}
	learn := func(single, batch time.Duration) *pace {
		p := newPace()
		for range 100 {
			p.observe(1, single)
			p.observe(500, batch+500*perMessage)
		}
		return &p
	}
	for _, tt := range []struct {
		name          string
		single, batch time.Duration
		want          int
	}{
		{"synced", 400 * time.Microsecond, 3800 * time.Microsecond, 9},
		{"not synced", 50 * time.Microsecond, 3600 * time.Microsecond, maxSingles},
		{"far away", 5 * time.Millisecond, 8 * time.Millisecond, 0},
		{"batches for free", time.Millisecond, 0, 0},
	} {
		if got := largest(learn(tt.single, tt.batch)); got < tt.want-1 || got > tt.want+1 {
			t.Errorf("%s: up to %d one by one, not about %d", tt.name, got, tt.want)
		}
	}
	// One stall is forgotten.
	p := learn(50*time.Microsecond, 3600*time.Microsecond)
	p.observe(1, 2*time.Second)
	for range 100 {
		p.observe(1, 50*time.Microsecond)
	}
	if got := largest(p); got != maxSingles {
		t.Errorf("after a stall: %d", got)
	}
}
