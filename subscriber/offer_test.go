package subscriber

import (
	"context"
	"testing"
	"time"

	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
)

// A direct delivery is refused for one reason each, at once, and then its endpoint does
// not know of it.
func TestOfferSaysWhyNot(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings func(*endpoint.Settings)
		change   func(h *hand, x *Direct) (endpoint string)
		want     Why
	}{
		"nothing": {asItIs, func(*hand, *Direct) string { return "a" }, Taken},
		"off":     {asItIs, func(h *hand, _ *Direct) string { h.Dispatcher.direct.on.Store(false); return "a" }, WhyOff},
		"unknown": {asItIs, func(*hand, *Direct) string { return "b" }, WhyEndpoint},
		"stopped": {asItIs, func(h *hand, _ *Direct) string { h.e.stop(); return "a" }, WhyStopped},
		"ordered": {func(s *endpoint.Settings) { s.Ordered = true }, func(*hand, *Direct) string { return "a" }, WhyEndpoint},
		"laned":   {asItIs, func(h *hand, _ *Direct) string { h.e.laned.Store(true); return "a" }, WhyEndpoint},
		"slow":    {asItIs, func(h *hand, _ *Direct) string { h.e.latency = slowDirect; return "a" }, WhyEndpoint},
		"many leases": {asItIs, func(h *hand, _ *Direct) string {
			h.e.notDirect = time.Now().Add(1)
			return "a"
		}, WhyEndpoint},
		"had many leases": {asItIs, func(h *hand, _ *Direct) string {
			h.e.notDirect = time.Now()
			return "a"
		}, Taken},
		"paused": {asItIs, func(h *hand, _ *Direct) string {
			h.e.gate.SetPause(&endpoint.Pause{Since: time.Now()}, time.Now())
			return "a"
		}, WhyEndpoint},
		"soon too old": {func(s *endpoint.Settings) { s.Retry.MaxAge = 2 * time.Minute; s.Timeout = 30 * time.Second }, func(_ *hand, x *Direct) string {
			x.Event.Age = 30*time.Second + 1
			return "a"
		}, WhyExpires},
		"not soon too old": {func(s *endpoint.Settings) { s.Retry.MaxAge = 2 * time.Minute; s.Timeout = 30 * time.Second }, func(_ *hand, x *Direct) string {
			x.Event.Age = 30 * time.Second
			return "a"
		}, Taken},
		"never too old": {func(s *endpoint.Settings) { s.Retry.MaxAge = 0 }, func(_ *hand, x *Direct) string {
			x.Event.Age = 1000 * time.Hour
			return "a"
		}, Taken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, tt.settings, func(h *hand) {
				h.busy()
				x, o := h.direct()
				to := tt.change(h, x)
				if why := h.Offer(to, x); why != tt.want {
					t.Errorf("%q, want %q", why, tt.want)
				}
				if waits := h.e.withdraw(&x.dl); waits != (tt.want == Taken) {
					t.Errorf("it waits: %v", waits)
				}
				h.owned(o, "")
			})
		})
	}
}

// So many wait for an endpoint as it serves within its patience, and as many as it takes
// at once in any case.
func TestOfferWhatIsServedSoon(t *testing.T) {
	t.Parallel()
	for latency, want := range map[float64]int{0: 3, 0.01: 75, 0.1: 7, 0.24: 3} {
		inHand(t, func(s *endpoint.Settings) { s.MaxInFlight = 3 }, func(h *hand) {
			h.busy()
			h.e.latency = latency
			taken := 0
			for why := Taken; why == Taken && taken < 2*mostAhead; taken++ {
				x, _ := h.direct()
				if why = h.Offer("a", x); why != Taken && why != WhyBusy {
					t.Fatalf("it is not taken: %s", why)
				}
			}
			if taken-1 != want {
				t.Errorf("at %v s an attempt %d wait, want %d", latency, taken-1, want)
			}
		})
	}
}

// What waits when its endpoint gets a lane, is paused or removed, when it has waited too
// long, or when the process stops, goes back to its owner once.
func TestDirectGoesBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		act  func(h *hand, x *Direct)
		want Why
	}{
		"paused": {func(h *hand, _ *Direct) { h.divert(h.e.pause(&endpoint.Pause{Since: time.Now()}, time.Now())) }, WhyMoved},
		"removed": {func(h *hand, _ *Direct) {
			target, err := attempt.NewTarget(endpointAt(h.T, "http://127.0.0.1:1", asItIs), egress.New(egress.Policy{}, egress.GuardOptions{}), "test", nil)
			if err != nil {
				h.Fatal(err)
			}
			h.e.target = target
			h.divertRemoved(h.e)
		}, WhyMoved},
		"stopped": {func(h *hand, _ *Direct) { h.stopEndpoints() }, WhyStopped},
		"secured": {func(h *hand, x *Direct) { h.Secure(x); h.Secure(x) }, WhyLate},
		"others could make it": {func(h *hand, _ *Direct) {
			h.opts.Direct, h.opts.OthersLive = true, func() bool { return true }
			h.reviewDirect(time.Now().Add(sharedWait))
			if len(h.e.queue) != 1 {
				h.Error("not yet")
			}
			h.reviewDirect(time.Now().Add(sharedWait + 1))
		}, WhyLate},
		"stale": {func(h *hand, x *Direct) {
			h.e.withdraw(&x.dl)
			x.Owner.(*owner).stale = true
			h.processDirect(h.work, &x.dl, x)
		}, WhyStale},
		"begun too late": {func(h *hand, x *Direct) {
			h.e.withdraw(&x.dl)
			ctx, cancel := context.WithCancel(h.work)
			cancel()
			h.processDirect(ctx, &x.dl, x)
		}, WhyStopped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, asItIs, func(h *hand) {
				h.busy()
				x, o := h.direct()
				if why := h.Offer("a", x); why != Taken {
					t.Fatal(why)
				}
				tt.act(h, x)
				h.owned(o, "write down: "+string(tt.want))
				if len(h.e.queue) != 0 || h.e.shared != 0 || h.e.moving != 0 {
					t.Errorf("%d wait, %d shared, %d moving", len(h.e.queue), h.e.shared, h.e.moving)
				}
				h.Secure(x)
				h.owned(o, "write down: "+string(tt.want))
			})
		})
	}
}

// What a process alone can make in time is not sent to others.
func TestDirectStaysWithoutOthers(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		h.busy()
		h.opts.Direct = true
		x, o := h.direct()
		h.Offer("a", x)
		h.reviewDirect(time.Now().Add(time.Minute))
		h.owned(o, "")
	})
}
