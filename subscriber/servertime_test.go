package subscriber

import (
	"testing"
	"time"

	"fanjet/subscriber/outcome"
)

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
