package dlq

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Stat sums up the letters of one endpoint with one reason.
type Stat struct {
	Endpoint string    `json:"endpoint"`
	Reason   Reason    `json:"reason"`
	Letters  int       `json:"letters"`
	Bytes    int64     `json:"bytes"`  // of the bodies that the letters hold
	Oldest   time.Time `json:"oldest"` // when the first of them was dead-lettered
	Newest   time.Time `json:"newest"`
}

// Stats sums up the letters that the filter selects, by endpoint and reason, in
// that order. It reads all of them.
func (q *Queue) Stats(ctx context.Context, f Filter) ([]Stat, error) {
	type group struct {
		endpoint string
		reason   Reason
	}
	groups := make(map[group]*Stat)
	for l, err := range q.List(ctx, f) {
		if err != nil {
			return nil, err
		}
		g := group{l.Endpoint, l.Reason}
		s := groups[g]
		if s == nil {
			s = &Stat{Endpoint: l.Endpoint, Reason: l.Reason, Oldest: l.DeadLettered}
			groups[g] = s
		}
		s.Letters++
		s.Bytes += int64(l.Size)
		s.Newest = l.DeadLettered
	}
	stats := make([]Stat, 0, len(groups))
	for _, s := range groups {
		stats = append(stats, *s)
	}
	slices.SortFunc(stats, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Reason, b.Reason))
	})
	return stats, nil
}
