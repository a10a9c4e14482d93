package subscriber

import (
	"testing"
	"testing/synctest"
	"time"

	"fanjet/internal/servertime"
)

// What a server's clock says that was set back does not count: what a delivery had to
// wait then it waits from now on.
func TestReplan(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	for name, test := range map[string]struct{ next, planned, want time.Duration }{
		"planned before":           {next: time.Minute, planned: -time.Second, want: time.Minute},
		"within the tolerance":     {next: time.Hour, planned: servertime.StepTolerance, want: time.Hour},
		"planned in the future":    {next: time.Hour, planned: servertime.StepTolerance + 1, want: time.Hour - servertime.StepTolerance - 1},
		"which was due then":       {next: time.Hour, planned: time.Hour, want: time.Hour},
		"which was due before":     {next: time.Minute, planned: time.Hour, want: time.Minute},
		"a nanosecond before then": {next: time.Hour + 1, planned: time.Hour, want: 1},
	} {
		if got := replan(at(test.next), at(test.planned), noon); !got.Equal(at(test.want)) {
			t.Errorf("%s: in %v, want %v", name, got.Sub(noon), test.want)
		}
	}
}

// What a delivery has waited here it has waited by a clock that nobody sets, if it is
// that one.
func TestHeadWait(t *testing.T) {
	t.Parallel()
	inHand(t, ordered, func(h *hand) {
		ahead := time.Duration(0)
		h.opts.ServerTime = func() time.Time { return time.Now().Add(ahead) }
		dl, env, _ := h.first(unchanged)
		head := headOf(&env, time.Now().Add(time.Minute))
		dl.head = &head
		h.holdHead(dl, time.Minute)
		for _, ahead = range []time.Duration{0, -time.Hour} {
			if got := h.headWait(dl); got != time.Minute {
				t.Errorf("%v ahead: %v", ahead, got)
			}
		}
		time.Sleep(20 * time.Second) //nolint:forbidigo // synctest
		if got := h.headWait(dl); got != 40*time.Second {
			t.Errorf("after a while: %v", got)
		}
		ahead = 0
		other := head
		other.Delivery = "k9/0"
		dl.head = &other
		if got := h.headWait(dl); got != 40*time.Second {
			t.Errorf("another one: %v", got)
		}
		h.e.lift(time.Now())
		synctest.Wait()
	})
}
