package lanes

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"testing"
	"time"

	"fanjet/internal/intake"
)

func (m *member) OpensLane() bool { return false }

func (m *member) LaneWindow(time.Time) int {
	m.asked++
	return MinWindow
}

func (m *members) Receive(string, *intake.Message, bool) int { return m.window }

// No more lanes are pulled at once than there may be. The others take turns: who waits
// gets the place of the one that was pulled the longest, once the turn of that is over.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	byName := make(map[string]*member)
	for i := range maxActive + 3 {
		byName[strconv.Itoa(i)] = &member{ready: true}
	}
	l, _ := lanesOf(t, new(fakeStream), byName)
	l.opts.Beat = time.Second
	opens := make(chan struct{}) // from one that is open nothing comes: it would make room
	l.opts.Consumers = fakeConsumers{open: errors.New("not open"), opens: opens}
	ctx, stop := context.WithCancel(t.Context())
	defer l.ended.Wait()
	defer stop()
	defer close(opens)
	for name := range byName {
		l.Holds(name)
	}
	active := func() (n int, names map[string]bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		names = make(map[string]bool)
		for name, lane := range l.byName {
			if lane.active() {
				names[name] = true
			}
		}
		return len(names), names
	}
	now := time.Now()
	if wait := l.review(ctx, now); wait != QuietTime/2 {
		t.Errorf("looks again in %v", wait)
	}
	n, first := active()
	if n != maxActive {
		t.Fatalf("%d are pulled", n)
	}
	l.review(ctx, now.Add(Turn-1))
	if _, second := active(); !maps.Equal(first, second) {
		t.Error("one gave way before its turn was over")
	}
	l.review(ctx, now.Add(Turn))
	n, third := active()
	if n != maxActive || maps.Equal(first, third) {
		t.Errorf("%d are pulled, the same ones: %v", n, maps.Equal(first, third))
	}
	for name := range byName {
		if !first[name] && !third[name] {
			t.Errorf("%s waits for another turn", name)
		}
		byName[name].ready = false
	}
	// Who may not be sent to is not pulled, and it is looked again when that changes.
	byName["0"].at = now.Add(Turn + time.Minute)
	if wait := l.review(ctx, now.Add(Turn)); wait != time.Minute {
		t.Errorf("looks again in %v", wait)
	}
	if n, _ := active(); n != 0 {
		t.Errorf("%d are pulled", n)
	}
}

// What comes from a lane tells how much more there is.
func TestLaneHearsWhatIsPending(t *testing.T) {
	t.Parallel()
	l, d := lanesOf(t, new(fakeStream), map[string]*member{"a": {}})
	lane := l.of("a")
	lane.in = lane.intake()
	lane.handle(&intake.Message{Pending: 7})
	behind := lane.behind.Load()
	if lane.pending.Load() != 7 || behind == 0 || lane.arrived.Load() == 0 || lane.in.Full() {
		t.Errorf("pending %d, behind %d", lane.pending.Load(), behind)
	}
	d.window = 0
	lane.handle(&intake.Message{})
	if lane.pending.Load() != 0 || lane.behind.Load() != behind {
		t.Errorf("pending %d, behind since %d", lane.pending.Load(), lane.behind.Load())
	}
	lane.resize()
	if n := d.byName["a"].asked; n != 1 {
		t.Errorf("its endpoint is asked %d times how much it can use", n)
	}
}

// A lane is forgotten when nothing of it is known that the stream would not tell.
func TestForgettable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lane *lane
		want bool
	}{
		"empty for long":   {&lane{empty: noon.Add(-stayAway - 1)}, true},
		"empty a while":    {&lane{empty: noon.Add(-stayAway)}, false},
		"holds something":  {&lane{count: 1, empty: noon.Add(-time.Hour)}, false},
		"is being pulled":  {&lane{running: true, empty: noon.Add(-time.Hour)}, false},
		"not known so far": {&lane{}, false},
	} {
		if got := test.lane.forgettable(noon); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
