package subscriber

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// A pause sends what waits to the lane, and nothing begins until it ends. One of an
// endpoint that is not known is remembered for it.
func TestPauseHoldsDeliveries(t *testing.T) {
	t.Parallel()
	inHand(t, func(e *endpoint.Settings) { e.MaxInFlight = 1 }, func(h *hand) {
		h.e.inFlight = 1
		all := h.wait(h.e, 2, time.Now())
		p := &endpoint.Pause{By: "ann"}
		h.onPause("a", p)
		h.onPause("b", p)
		if n := h.stored(); n != 2 || !h.e.Laned() {
			t.Errorf("%d are moved, laned %v", n, h.e.Laned())
		}
		for _, s := range all {
			h.check(s, "ack")
		}
		if _, is := h.paused["b"]; !is || !h.e.gate.IsPaused() {
			t.Errorf("paused: %v, %v", h.paused, h.e.gate.IsPaused())
		}
		if e := h.add("b"); !e.gate.IsPaused() || !e.Laned() {
			t.Error("one that comes back is not paused")
		}
		h.e.lineNext = time.Now().Add(time.Hour)
		h.onPause("a", nil)
		h.onPause("b", nil)
		if len(h.paused) != 0 || h.e.gate.IsPaused() || !h.e.lineNext.IsZero() || !h.e.resumed.Equal(time.Now()) {
			t.Errorf("still paused: %v, %v; the line waits until %v", h.paused, h.e.gate.IsPaused(), h.e.lineNext)
		}
	})
}

// A pause that Fanjet makes is in force at once, and is stored as soon as that can be.
func TestGonePauses(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		var told int
		h.opts.OnPause = func(context.Context, string, endpoint.Pause) { told++ }
		h.bucket.fails = errNoAnswer
		for range 3 {
			if h.e.gate.IsPaused() {
				t.Error("paused too early")
			}
			dl, env, _ := h.delivery(unchanged)
			if v, _ := h.e.offer(dl, time.Now()); v != accepted {
				t.Fatal(v)
			}
			if h.e.start(time.Now()) != dl {
				t.Fatal("it does not begin")
			}
			h.hear(dl, h.e.target, &env, gotStatus(http.StatusGone))
			h.e.finish(dl, time.Now())
			h.begun.Done()
		}
		if !h.e.gate.IsPaused() || !h.e.Laned() {
			t.Error("not paused")
		}
		time.Sleep(time.Second) //nolint:forbidigo // synctest
		h.bucket.mu.Lock()
		h.bucket.fails = nil
		h.bucket.mu.Unlock()
		time.Sleep(10 * time.Second) //nolint:forbidigo // synctest
		synctest.Wait()
		p, err := state.PauseOf(h.work, h.bucket, "a")
		if err != nil || p == nil || !p.Gone() || told != 1 {
			t.Errorf("stored: %+v, %v; told %d times", p, err, told)
		}
	})
}

// Nobody is told of a pause that another replica stored first.
func TestPauseThatIsThere(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		h.opts.OnPause = func(context.Context, string, endpoint.Pause) { t.Error("told") }
		if _, err := state.SetPause(h.work, h.bucket, "a", endpoint.Pause{By: "ann"}); err != nil {
			t.Fatal(err)
		}
		h.storePause(h.work, "a", endpoint.Pause{By: endpoint.PausedByFanjet})
		if p, err := state.PauseOf(h.work, h.bucket, "a"); err != nil || p.By != "ann" {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// An operator's word ends what an endpoint waits for, and nothing else.
func TestLift(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		if lifted, err := h.Lift("a"); lifted != nil || err != nil {
			t.Errorf("of a healthy one: %+v, %v", lifted, err)
		}
		if _, err := h.Lift("b"); err == nil {
			t.Error("one that is not known")
		}
		opens(h)
		h.e.lineNext = time.Now().Add(time.Hour)
		lifted, err := h.Lift("a")
		if err != nil || lifted == nil || lifted.State != endpoint.StateOpen || lifted.Reason == "" || !lifted.Until.Equal(time.Now().Add(5*time.Second)) {
			t.Errorf("%+v, %v", lifted, err)
		}
		if h.e.gate.IsOpen() || !h.e.lineNext.IsZero() {
			t.Error("it still waits")
		}
	})
}
