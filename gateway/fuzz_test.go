package gateway

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/wire"
)

// FuzzPosition reads any text as a cursor: it is refused, or what is read is what
// would be written, and covers nothing of another stream and nothing newer.
func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"created":"2026-01-02T03:04:05.000000006Z","sequence":7,"stored":"2026-01-02T03:04:06Z","delivery":9}`))
	f.Add([]byte(`{"created":"2026-01-02T03:04:05Z","sequence":18446744073709551615,"stored":"9999-12-31T23:59:59.999999999Z"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"sequence":-1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := readPosition(text)
		if err != nil {
			return
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := readPosition(written)
		if err != nil || !again.Created.Equal(p.Created) || !again.Stored.Equal(p.Stored) || again.Sequence != p.Sequence || again.Delivery != p.Delivery {
			t.Errorf("%s becomes %s: %v", text, written, err)
		}
		switch {
		case p.covers(p.Created.Add(time.Second), p.Sequence, p.Stored),
			p.Sequence+1 != 0 && p.covers(p.Created, p.Sequence+1, p.Stored),
			p.covers(p.Created, p.Sequence, p.Stored.Add(time.Nanosecond)):
			t.Errorf("%s covers too much", text)
		case !p.covers(p.Created, p.Sequence, p.Stored):
			t.Errorf("%s does not cover its own event", text)
		}
	})
}

// FuzzSchedule reads what may be stored on the subject of a retry: whatever it
// is, it is either none, or one that is due at a time that can be reckoned with.
func FuzzSchedule(f *testing.F) {
	f.Add("@at 2026-11-30T10:00:00.123456789Z", "fanjet.due.a", "2026-11-30T09:00:00Z")
	f.Add("@at 9999-12-31T23:59:59Z", "fanjet.due.a", "")
	f.Add("@at 0001-01-01T00:00:00Z", "fanjet.due.a", "x")
	f.Add("@every 1s", "fanjet.due.a", "")
	f.Add("@at 2026-11-30T10:00:00Z", "", "")
	f.Fuzz(func(t *testing.T, at, target, last string) {
		due, attempted := readTimes(nats.Header{headerSchedule: {at}, headerScheduleTarget: {target}, wire.HeaderLastAttempt: {last}})
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
