package gate

import (
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

func TestGone(t *testing.T) {
	t.Parallel()
	type step struct {
		after time.Duration
		r     outcome.Result
	}
	gone := answered(410)
	for _, tt := range []struct {
		name  string
		steps []step
		want  int // the step that reports it; 0: none
	}{
		{"two", []step{{0, gone}, {0, gone}}, 0},
		{"three at once", []step{{0, gone}, {0, gone}, {0, gone}}, 3},
		{"reported once", []step{{0, gone}, {0, gone}, {0, gone}, {0, gone}, {0, answered(200)}, {0, gone}, {0, gone}, {0, gone}}, 3},
		{"ten minutes each", []step{{0, gone}, {10 * time.Minute, gone}, {10 * time.Minute, gone}}, 3},
		{"too far apart", []step{{0, gone}, {time.Minute, gone}, {10*time.Minute + 1, gone}, {0, gone}}, 0},
		{"counts again after too long", []step{{0, gone}, {10*time.Minute + 1, gone}, {0, gone}, {0, gone}}, 4},
		{"a success between", []step{{0, gone}, {0, gone}, {0, answered(204)}, {0, gone}, {0, gone}}, 0},
		{"another status between", []step{{0, gone}, {0, gone}, {0, answered(404)}, {0, gone}, {0, gone}}, 0},
		{"no answer between", []step{{0, gone}, {0, broke(outcome.ClassTimeout)}, {0, gone}, {0, broke(outcome.ClassConnect)}, {0, gone}}, 5},
		{"own trouble between", []step{{0, gone}, {0, broke(outcome.ClassLocal)}, {0, gone}, {0, broke(outcome.ClassInterrupted)}, {0, gone}}, 5},
	} {
		for _, final := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				c := newGateClock(t, func(ep *endpoint.Settings) { ep.Circuit.Failures = 0 })
				reported := 0
				for i, s := range tt.steps {
					c.pass(s.after)
					if c.g.Done(c.now, c.begin(), s.r, final, "msg_1").Has(SaidGone) {
						if reported != 0 {
							t.Errorf("reported at step %d and %d", reported, i+1)
						}
						reported = i + 1
					}
					c.out--
				}
				if reported != tt.want {
					t.Errorf("reported at step %d, want %d", reported, tt.want)
				}
			})
		}
	}
}

func TestGoneAgainAfterResume(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	for range 2 {
		for _, want := range []Change{0, 0, SaidGone} {
			p := c.begin()
			if c.g.refusal.on && c.refused() != 0 {
				t.Error("two at once after a resume")
			}
			c.want("410", c.end(p, answered(410)), want)
			c.pass(time.Second)
		}
		c.g.SetPause(&endpoint.Pause{By: "fanjet"}, c.now)
		c.g.SetPause(nil, c.now)
	}
}

// Where 410 is not final it is a failure like others besides.
func TestGoneCountsForTheCircuit(t *testing.T) {
	t.Parallel()
	c := newGateClock(t, nil)
	for i := range 3 {
		var want Change
		if i == 2 {
			want = SaidGone | Opened
		}
		c.want("410", c.g.Done(c.now, c.begin(), answered(410), false, "msg_1"), want)
		c.out--
	}
}
