package endpoint

import (
	"testing"
	"time"
)

func TestStateWaits(t *testing.T) {
	t.Parallel()
	for state, want := range map[State]bool{
		StateHealthy: false, StateSlow: false, StateLimited: false, StateHalfOpen: false,
		StateBackingOff: true, StateRefusing: true, StateOpen: true, StatePaused: true,
	} {
		if got := state.Waits(); got != want {
			t.Errorf("%s waits: %v, want %v", state, got, want)
		}
	}
}

// An endpoint that Fanjet paused for another reason than a delivery is gone: when it
// is resumed it is tried with care.
func TestPauseGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pause *Pause
		want  bool
	}{
		"none":                     {nil, false},
		"by an operator":           {&Pause{By: "ann"}, false},
		"by us":                    {&Pause{By: PausedByFanjet}, true},
		"by us, for a delivery":    {&Pause{By: PausedByFanjet, Blocked: "k"}, false},
		"by an operator, standing": {&Pause{By: "ann", Blocked: "k"}, false},
	} {
		if got := test.pause.Gone(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPauseSays(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Pause{
		"paused by ann":           {By: "ann"},
		"paused by ann: too slow": {By: "ann", Reason: "too slow"},
	} {
		if got := p.Text(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Two pauses are one if they say the same, in whatever zone.
func TestPauseEqual(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	p := Pause{Since: noon, By: "ann", Reason: "r", Blocked: "k"}
	for name, test := range map[string]struct {
		change func(*Pause)
		want   bool
	}{
		"the same":         {func(*Pause) {}, true},
		"in another zone":  {func(q *Pause) { q.Since = noon.In(time.FixedZone("", 3600)) }, true},
		"at another time":  {func(q *Pause) { q.Since = noon.Add(1) }, false},
		"by another":       {func(q *Pause) { q.By = "bob" }, false},
		"for a reason":     {func(q *Pause) { q.Reason = "" }, false},
		"another delivery": {func(q *Pause) { q.Blocked = "" }, false},
	} {
		q := p
		test.change(&q)
		if got := p.Equal(q); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
