package overdue

import (
	"container/heap"
	"slices"
	"time"
)

// timeline knows when schedules are due that were read once, so that none has to
// be read again before. It keeps those that are due soonest; 24 bytes each.
type timeline struct {
	entries entries // a heap, what is to be looked at next in front
	limit   int
	// Schedules that are due at or after beyond were left out for want of room:
	// the stream must be read anew then. The zero time: none was.
	beyond time.Time
}

// planned is a schedule.
type planned struct {
	seq   uint64
	due   int64 // Unix time in ns, of the server
	check int64 // when to look whether it has fired
}

// entries implements [heap.Interface].
type entries []planned

func (e entries) Len() int           { return len(e) }
func (e entries) Less(i, j int) bool { return e[i].check < e[j].check }
func (e entries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)        { *e = append(*e, x.(planned)) }
func (e *entries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// add notes a schedule that is to be looked at at some time.
func (t *timeline) add(seq uint64, due, check time.Time) {
	if !t.beyond.IsZero() && !due.Before(t.beyond) {
		return
	}
	heap.Push(&t.entries, planned{seq: seq, due: due.UnixNano(), check: check.UnixNano()})
	if len(t.entries) > t.limit {
		t.shed()
	}
}

// shed forgets the half that is due last.
func (t *timeline) shed() {
	slices.SortFunc(t.entries, func(a, b planned) int { return int(min(max(a.due-b.due, -1), 1)) })
	half := len(t.entries) / 2
	t.beyond = time.Unix(0, t.entries[half].due)
	for half > 0 && t.entries[half-1].due == t.entries[half].due {
		half-- // so that all that are due at a time are known, or none
	}
	t.entries = t.entries[:half]
	heap.Init(&t.entries)
}

// take removes those that are to be looked at by now, n at most, and returns
// them in order of their sequences.
func (t *timeline) take(now time.Time, n int) []planned {
	var out []planned
	for len(out) < n && len(t.entries) > 0 && t.entries[0].check <= now.UnixNano() {
		out = append(out, heap.Pop(&t.entries).(planned))
	}
	slices.SortFunc(out, func(a, b planned) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	return out
}

// incomplete reports whether the stream must be read anew, for schedules that
// were left out.
func (t *timeline) incomplete(now time.Time) bool { return !t.beyond.IsZero() && !now.Before(t.beyond) }

// clear forgets all.
func (t *timeline) clear() { t.entries, t.beyond = nil, time.Time{} }
