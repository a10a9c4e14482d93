package overdue

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/wire"
)

// FuzzSchedule reads what may be stored on the subject of a retry: whatever it
// is, it is either none, or one that is due at a time that can be reckoned with.
func FuzzSchedule(f *testing.F) {
	f.Add("@at 2026-11-30T10:00:00.123456789Z", "fanjet.due.a", "2026-11-30T09:00:00Z")
	f.Add("@at 9999-12-31T23:59:59Z", "fanjet.due.a", "")
	f.Add("@at 0001-01-01T00:00:00Z", "fanjet.due.a", "x")
	f.Add("@every 1s", "fanjet.due.a", "")
	f.Add("@at 2026-11-30T10:00:00Z", "", "")
	f.Fuzz(func(t *testing.T, at, target, last string) {
		due, attempted := readTimes(nats.Header{jetstream.ScheduleHeader: {at}, wire.HeaderScheduleTarget: {target}, wire.HeaderLastAttempt: {last}})
		if due.IsZero() {
			if !attempted.IsZero() {
				t.Errorf("none, and attempted at %v", attempted)
			}
			return
		}
		var known timeline
		known.limit = 1
		known.add(1, due, due.Add(lateAfter))
		if got := known.take(due.Add(lateAfter-1), 1); len(got) != 0 {
			t.Errorf("%q is looked at too soon", at)
		}
		if got := known.take(due.Add(lateAfter), 1); len(got) != 1 || !time.Unix(0, got[0].due).Equal(due) {
			t.Errorf("%q becomes %v", at, got)
		}
	})
}
