package lanes

import (
	"testing"
	"time"

	"fanjet/internal/intake"
	"fanjet/internal/natstest"
)

// noon is when everything happens.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// A lane that gave way is worth another look before it was swept: to sweep many
// takes minutes, and it may have been the server that was slow.
func TestLaneThatGaveWayComesAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lane *lane
		want bool
	}{
		"holds something":              {&lane{count: 1}, true},
		"holds nothing":                {&lane{}, false},
		"is still pulled":              {&lane{count: 1, running: true}, false},
		"gave way just now":            {&lane{count: 1, gaveWay: noon.Add(-QuietTime)}, false},
		"gave way, and was swept":      {&lane{count: 1, gaveWay: noon.Add(-QuietTime), swept: true}, true},
		"something was stored since":   {&lane{count: 1, gaveWay: noon.Add(-QuietTime), hinted: noon}, true},
		"gave way a turn ago, unswept": {&lane{count: 1, gaveWay: noon.Add(-Turn - 1)}, true},
	} {
		if got := test.lane.waits(noon); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A lane of which the server has more to send is not spent, however long that
// takes.
func TestLaneIsSpent(t *testing.T) {
	t.Parallel()
	l := lane{began: noon, in: intake.New(intake.Options{Conn: natstest.Start(t, natstest.Options{}).Conn(), Stream: "S", Consumer: "c", Beat: time.Second})}
	l.arrived.Store(noon.UnixNano())
	if l.spent(noon.Add(QuietTime)) {
		t.Error("spent too early")
	}
	if !l.spent(noon.Add(QuietTime + 1)) {
		t.Error("not spent although nothing comes")
	}
	if l.pending.Store(2); l.spent(noon.Add(QuietTime + 1)) {
		t.Error("spent although there is more")
	}
}

// A hint that something was stored wins against an older answer of the stream,
// and the lane is not taken for one that has long been empty.
func TestLaneHints(t *testing.T) {
	t.Parallel()
	lanes := New(Options{}, nil)
	lanes.mu.Lock()
	l := lanes.of("a")
	l.polled(0, noon)
	lanes.mu.Unlock()
	asked := time.Now()
	lanes.Holds("a")
	if l.polled(0, asked); l.count != 1 || !l.empty.IsZero() {
		t.Errorf("after a hint: %d held, empty since %v", l.count, l.empty)
	}
	later := time.Now()
	if l.polled(0, later); l.count != 0 || !l.empty.Equal(later) {
		t.Errorf("after a newer answer: %d held, empty since %v", l.count, l.empty)
	}
}
