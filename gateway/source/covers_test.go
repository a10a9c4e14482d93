package source

import (
	"testing"
	"time"
)

func TestCursorCovers(t *testing.T) {
	t.Parallel()
	created, stored := time.Unix(1, 0), time.Unix(100, 0)
	p := &progress{Created: created, Sequence: 10, Stored: stored}
	for _, tt := range []struct {
		name    string
		p       *progress
		created time.Time
		seq     uint64
		stored  time.Time
		want    bool
	}{
		{"no cursor", nil, created, 1, stored, false},
		{"the event itself", p, created, 10, stored, true},
		{"an earlier one", p, created, 9, stored.Add(-time.Second), true},
		{"a later one", p, created, 11, stored.Add(time.Second), false},
		{"another life of the stream", p, created.Add(time.Second), 10, stored, false},
		{"a sequence that was used again after a lost tail", p, created, 9, stored.Add(time.Second), false},
	} {
		if got := tt.p.covers(tt.created, tt.seq, tt.stored); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
