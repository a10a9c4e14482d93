package subscriber

import (
	"testing"
	"time"

	"fanjet/internal/state"
	"fanjet/subscriber/outcome"
)

// A replica whose clock is minutes ahead of the server's, or behind, gives up the
// lane of a removed endpoint when the grace time is over by the server's clock.
func TestOrphanedByTheServersClock(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Minute
	local := time.Now()
	for name, ahead := range map[string]time.Duration{"equal": 0, "ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		server := local.Add(-ahead)
		d := &Dispatcher{opts: Options{RemovalGrace: grace, ServerTime: func() time.Time { return server }}}
		d.endpoints.Store(&map[string]*member{})
		l := &lane{d: d, name: "a", count: 1, missing: state.Absence{Since: server.Add(-time.Minute), Read: server}}
		if is, at := l.ready(local); is || !at.Equal(local.Add(grace-time.Minute)) {
			t.Errorf("%s: missing for a minute: %v, at %v; want %v", name, is, at.Sub(local), grace-time.Minute)
		}
		l.missing = state.Absence{Since: server.Add(-grace), Read: server}
		if is, _ := l.ready(local); !is {
			t.Errorf("%s: missing for %v, and it still waits", name, grace)
		}
		l.missing = state.Absence{Since: server.Add(-grace), Read: server.Add(-time.Second)}
		if is, _ := l.ready(local); is {
			t.Errorf("%s: given up without another look", name)
		}
	}
}

// An operator's word counts for what was attempted before it, also by a replica
// whose clock is far ahead, and for nothing that was attempted after it.
func TestResumedSinceByTheServersClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"equal": 0, "ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		d := &Dispatcher{opts: Options{ServerTime: func() time.Time { return time.Now().Add(-ahead) }}}
		e := &member{}
		if d.resumedSince(e, time.Time{}) {
			t.Errorf("%s: never paused, and resumed", name)
		}
		e.resumed = time.Now()
		before := d.inServerTime(outcome.Result{Began: e.resumed.Add(-time.Second)}).Began
		after := d.inServerTime(outcome.Result{Began: e.resumed.Add(time.Second)}).Began
		if !d.resumedSince(e, before) {
			t.Errorf("%s: attempted a second before the resume, which does not count", name)
		}
		if d.resumedSince(e, after) {
			t.Errorf("%s: attempted a second after the resume, which counts", name)
		}
		if off := before.Sub(d.opts.ServerTime().Add(-time.Second)); off.Abs() > time.Minute {
			t.Errorf("%s: the attempt is recorded %v off the server's time", name, off)
		}
	}
}
