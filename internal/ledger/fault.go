package ledger

import (
	"fmt"
	"math"
	"time"
)

// Fault is something that was done to the gateway, or to what it needs. It may
// explain that something was sent more than once; nothing explains a loss.
type Fault struct {
	What string // for people: "kill -9", "cut"
	// From is when it began, Until when its effects ended: when the process that
	// was killed is ready again, for example. Until zero: not yet.
	From, Until time.Time
	// Reach is how long before From the work was done that may be repeated: what
	// was settled, but whose settlement could get lost.
	Reach time.Duration
	// Moment, if it is set, says that nobody was killed, nor cut off: who was at
	// work on a delivery for that long when the fault came stays at it, and nobody
	// else sends it meanwhile.
	Moment time.Duration
}

func (f Fault) String() string {
	return fmt.Sprintf("%s, %s to %s", f.What, clock(f.From), clock(f.Until))
}

// Fault enters a fault and returns its number, for [Ledger.Healed].
func (l *Ledger) Fault(f Fault) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, f)
	return len(l.faults) - 1
}

// Healed enters when the effects of a fault ended.
func (l *Ledger) Healed(fault int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults[fault].Until = at
}

// struck reports whether the fault may have hit the work of a request.
func (f *Fault) struck(r *request) bool {
	return r.began <= f.until() && r.end() >= nanos(f.From)-int64(f.Reach)
}

// leaves reports whether the fault does not explain that next was sent while an
// earlier request was under way: it leaves that with who sent it.
func (f *Fault) leaves(earlier, next *request) bool {
	return f.Moment > 0 && earlier.began < nanos(f.From)-int64(f.Moment) && earlier.end() > next.began
}

func (f *Fault) until() int64 {
	if f.Until.IsZero() {
		return math.MaxInt64
	}
	return nanos(f.Until)
}

// end is when a request ended, for ever when it did not.
func (r *request) end() int64 {
	if r.ended == 0 {
		return math.MaxInt64
	}
	return r.ended
}
