package lanes

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"fanjet/internal/intake"
	"fanjet/internal/state"

	"github.com/nats-io/nats.go"
)

// An endpoint joins its lane when that has held something for three looks while it is
// behind, and goes back when it has kept up: neither at once, nor again and again.
func TestReviewMovesEndpoints(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lane   *lane
		behind time.Duration // how long ago more waited than is held
		laned  bool
		want   string
	}{
		"behind":                            {lane: &lane{polls: 3}, want: "joins"},
		"behind, for two looks":             {lane: &lane{polls: 2}},
		"behind, and just back":             {lane: &lane{polls: 3, left: noon.Add(-stayAway)}},
		"behind, and back for a while":      {lane: &lane{polls: 3, left: noon.Add(-stayAway - 1)}, want: "joins"},
		"behind, in its lane":               {lane: &lane{polls: 3}, laned: true},
		"not behind":                        {lane: &lane{polls: 3}, behind: calmFor + 1},
		"keeps up":                          {lane: new(lane), behind: calmFor + 1, laned: true, want: "leaves"},
		"keeps up, not for long":            {lane: new(lane), behind: calmFor, laned: true},
		"holds something that nobody pulls": {lane: &lane{count: 1}, behind: time.Hour, laned: true},
	} {
		e := &member{laned: test.laned, rejoins: true}
		l, d := lanesOf(t, new(fakeStream), map[string]*member{"a": e})
		lane := test.lane
		lane.all, lane.name = l, "a"
		lane.fellBehind(noon.Add(-test.behind))
		lane.review(noon)
		switch {
		case (len(d.joined) == 1) != (test.want == "joins"):
			t.Errorf("%s: joined %v", name, d.joined)
		case (test.laned && !e.laned) != (test.want == "leaves"):
			t.Errorf("%s: laned %v", name, e.laned)
		case lane.left.Equal(noon) != (test.want == "leaves"):
			t.Errorf("%s: left at %v", name, lane.left)
		}
	}
}

// Who makes room for a lane that waits: one from which nothing comes, else the one that
// was pulled the longest, if its turn is over.
func TestMakesRoom(t *testing.T) {
	t.Parallel()
	in := intake.New(intake.Options{Conn: new(nats.Conn), Stream: "S", Consumer: "c", Beat: time.Second})
	busy := func(began time.Duration) *lane {
		l := &lane{in: in, began: noon.Add(-began)}
		l.arrived.Store(noon.UnixNano())
		return l
	}
	quiet := busy(Turn / 2)
	quiet.arrived.Store(noon.Add(-QuietTime - 1).UnixNano())
	for name, test := range map[string]struct {
		active []*lane
		want   int
	}{
		"its turn is over": {[]*lane{busy(Turn), busy(Turn)}, 0},
		"nobody's is":      {[]*lane{busy(Turn - 1), busy(0)}, -1},
		"nothing comes":    {[]*lane{busy(Turn), busy(Turn), quiet}, 2},
	} {
		if got := makesRoom(test.active, noon); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if !quiet.gaveWay.Equal(noon) {
		t.Error("it is not noted that it gave way")
	}
}

// What a poll says is taken over: a lane that is empty is forgotten after a while, and
// an endpoint of which nothing was ever there goes back.
func TestNoteOfAPoll(t *testing.T) {
	t.Parallel()
	e := &member{laned: true, rejoins: true}
	l, _ := lanesOf(t, new(fakeStream), map[string]*member{"never": e, "a": {laned: true}})
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	l.note(map[string]uint64{"a": 5, "b": 2}, map[string]state.Absence{"b": {Since: noon}}, at(0))
	a, b := l.byName["a"], l.byName["b"]
	if a.count != 5 || a.polls != 1 || b.count != 2 || !b.missing.Since.Equal(noon) || !a.missing.Since.IsZero() || e.laned {
		t.Errorf("a: %d in %d polls, b: %d, missing since %v; laned %v", a.count, a.polls, b.count, b.missing.Since, e.laned)
	}
	l.note(map[string]uint64{"a": 5}, nil, at(1))
	if a.polls != 2 || b.count != 0 || !b.empty.Equal(at(1)) {
		t.Errorf("a after %d polls, b: %d since %v", a.polls, b.count, b.empty)
	}
	b.running = true
	l.note(nil, nil, at(1+stayAway+1))
	if l.byName["b"] != b || a.polls != 0 {
		t.Error("one that is pulled is forgotten")
	}
	b.running = false
	l.note(nil, nil, at(1+stayAway))
	if l.byName["b"] != b {
		t.Error("forgotten too early")
	}
	l.note(nil, nil, at(1+stayAway+1))
	if names := slices.Collect(maps.Keys(l.byName)); !slices.Equal(names, []string{"a"}) {
		t.Errorf("known: %v", names)
	}
}

// Since when an endpoint is missing is asked for those that are not in the
// configuration, and not at every poll. Without an answer nothing is known.
func TestMissingIsAskedNowAndThen(t *testing.T) {
	t.Parallel()
	l, d := lanesOf(t, new(fakeStream), map[string]*member{"a": {}})
	now := noon
	l.opts.ServerTime = func() time.Time { return now }
	counts := map[string]uint64{"a": 1, "b": 1}
	d.since, d.fails = noon.Add(-time.Second), errors.New("no answer")
	if got := l.missing(t.Context(), counts); len(got) != 0 || d.asked != 1 {
		t.Errorf("%v after %d questions", got, d.asked)
	}
	d.fails = nil
	for range 3 {
		got := l.missing(t.Context(), counts)
		if len(got) != 1 || !got["b"].Since.Equal(d.since) || !got["b"].Read.Equal(noon) || d.asked != 2 {
			t.Errorf("%v after %d questions", got, d.asked)
		}
		l.note(counts, got, now)
	}
	now = noon.Add(time.Minute) // the grace time is over
	if got := l.missing(t.Context(), counts); !got["b"].Read.Equal(now) || d.asked != 3 {
		t.Errorf("%v after %d questions", got, d.asked)
	}
}

// A lane of which nothing is known to wait is not pulled for ever.
func TestEmptyLaneRests(t *testing.T) {
	t.Parallel()
	l, _ := lanesOf(t, new(fakeStream), map[string]*member{"a": {ready: true}})
	for name, test := range map[string]struct {
		lane *lane
		want bool
	}{
		"holds something": {&lane{count: 1, cancel: func() {}}, true},
		"empty a moment":  {&lane{empty: noon.Add(-restAfter), cancel: func() {}}, true},
		"empty for long":  {&lane{empty: noon.Add(-restAfter - 1), cancel: func() {}}, false},
		"not pulled":      {&lane{empty: noon.Add(-time.Hour)}, true},
	} {
		lane := test.lane
		lane.all, lane.name = l, "a"
		lane.missing.Since = noon
		lane.removed.Store(true)
		if got, _ := lane.ready(noon); got != test.want || lane.removed.Load() || !lane.missing.Since.IsZero() {
			t.Errorf("%s: %v; removed %v", name, got, lane.removed.Load())
		}
	}
}

// The lane of an endpoint that is not in the configuration waits while it is not known
// since when, and while the grace time lasts.
func TestOrphanedLaneWaits(t *testing.T) {
	t.Parallel()
	l, _ := lanesOf(t, new(fakeStream), nil)
	for name, test := range map[string]struct {
		lane *lane
		want bool
		at   time.Time
	}{
		"not known":       {lane: &lane{count: 1}},
		"a moment":        {lane: &lane{count: 1, missing: state.Absence{Since: noon, Read: noon}}, at: noon.Add(time.Minute)},
		"over":            {lane: &lane{count: 1, missing: state.Absence{Since: noon.Add(-time.Minute), Read: noon}}, want: true},
		"over, not read":  {lane: &lane{count: 1, missing: state.Absence{Since: noon.Add(-time.Minute), Read: noon.Add(-1)}}},
		"over, and empty": {lane: &lane{missing: state.Absence{Since: noon.Add(-time.Minute), Read: noon}}},
	} {
		test.lane.all, test.lane.name = l, "a"
		if got, at := test.lane.ready(noon); got != test.want || !at.Equal(test.at) || test.lane.removed.Load() != test.want {
			t.Errorf("%s: %v, at %v, removed %v", name, got, at, test.lane.removed.Load())
		}
	}
}
