package subscriber

import (
	"net/http"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/lanes"
	"fanjet/subscriber/outcome"
)

// What comes from a lane waits for its endpoint, unless that is gone: then it waits in
// the lane for the grace time, and is a dead letter after that.
func TestReceiveFromALane(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare  func(h *hand, dl *delivery)
		endpoint string
		removed  bool
		waits    bool
		letter   dlq.Reason
		said     string
	}{
		"its endpoint is there":     {endpoint: "a", waits: true},
		"there, and was removed":    {endpoint: "a", removed: true, waits: true},
		"it is not, since a moment": {endpoint: "b", said: "nak"},
		"it is gone for good":       {endpoint: "b", removed: true, letter: dlq.ReasonEndpointRemoved},
		"its letter waits":          {endpoint: "a", letter: dlq.ReasonRejected, prepare: verdictOf(dlq.ReasonRejected)},
		"its endpoint was away":     {endpoint: "a", waits: true, prepare: verdictOf(dlq.ReasonEndpointRemoved)},
		"its endpoint stops":        {endpoint: "a", said: "nak", prepare: func(h *hand, _ *delivery) { h.e.stop() }},
		"it is too old, never tried, and that does not answer": {endpoint: "a", letter: dlq.ReasonExpired, prepare: func(h *hand, dl *delivery) {
			opens(h)
			probe(h, gotNone(outcome.ClassConnect))
			dl.msg.Msg.Header.Set(wire.HeaderAccepted, time.Now().Add(-h.e.target.Retry.MaxAge-time.Hour).Format(time.RFC3339Nano))
		}},
		"it is too old, and that is down": {endpoint: "a", letter: dlq.ReasonExpired, prepare: func(h *hand, dl *delivery) {
			opens(h)
			probe(h, gotStatus(http.StatusInternalServerError))
			dl.msg.Msg.Header.Set(wire.HeaderAttempt, "2")
			dl.msg.Msg.Header.Set(wire.HeaderAccepted, time.Now().Add(-h.e.target.Retry.MaxAge-time.Hour).Format(time.RFC3339Nano))
		}},
	} {
		inHand(t, func(e *endpoint.Settings) { e.MaxInFlight = 1 }, func(h *hand) {
			h.e.inFlight = 1 // so that nothing begins
			dl, _, s := h.first(unchanged)
			if test.prepare != nil {
				test.prepare(h, dl)
			}
			laneSide{h.Dispatcher}.receive(test.endpoint, dl.msg, test.removed)
			h.check(s, test.said)
			if got := len(h.e.queue) == 1; got != test.waits {
				t.Errorf("%s: it waits: %v", name, got)
			}
			if test.waits && (!h.e.queue[0].lane || !h.e.queue[0].fresh) {
				t.Errorf("%s: %+v", name, h.e.queue[0])
			}
			if test.letter != "" {
				m := h.next(h.letters)
				if reason, _ := dlq.Verdict(m.Header); reason != test.letter {
					t.Errorf("%s: %s, want %s", name, reason, test.letter)
				}
				m.answer(nil)
				h.check(s, "ack")
			}
		})
	}
}

func verdictOf(reason dlq.Reason) func(*hand, *delivery) {
	return func(_ *hand, dl *delivery) { dl.msg.Msg.Header.Set(dlq.HeaderReason, string(reason)) }
}

// opens opens the circuit of the endpoint.
func opens(h *hand) {
	for !h.e.gate.IsOpen() {
		p, ok, _ := h.e.gate.Admit(time.Now(), 0)
		if !ok {
			h.Fatal("not admitted")
		}
		h.e.gate.Done(time.Now(), p, gotStatus(http.StatusInternalServerError), false, "msg_x")
	}
}

// probe waits for the next probe of a circuit, and makes it.
func probe(h *hand, r outcome.Result) {
	time.Sleep(h.e.target.Circuit.MaxProbe) //nolint:forbidigo // synctest
	p, ok, _ := h.e.gate.Admit(time.Now(), 0)
	if !ok {
		h.Fatal("no probe")
	}
	h.e.gate.Done(time.Now(), p, r, false, "msg_x")
}

// A lane is pulled only as its endpoint can be sent to, and its window is what that can
// use.
func TestLaneReadyAndWindow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings func(*endpoint.Settings)
		prepare  func(h *hand)
		ready    bool
		at       time.Duration // from now; 0: nothing changes by itself
		window   int
	}{
		"healthy":            {ready: true, window: 4 * 32},
		"with few slots":     {settings: func(e *endpoint.Settings) { e.MaxInFlight = 1 }, ready: true, window: lanes.MinWindow},
		"with many slots":    {settings: func(e *endpoint.Settings) { e.MaxInFlight = 1000 }, ready: true, window: lanes.MaxWindow},
		"with a slow rate":   {settings: func(e *endpoint.Settings) { e.RateLimit = endpoint.Rate{Count: 3, Per: time.Second} }, ready: true, window: 6},
		"ordered":            {settings: func(e *endpoint.Settings) { e.Ordered = true }, ready: true, window: 1},
		"stopped":            {prepare: func(h *hand) { h.e.stop() }, window: 128},
		"paused":             {prepare: func(h *hand) { h.e.pause(&endpoint.Pause{}, time.Now()) }, window: 128},
		"ordered, draining":  {settings: func(e *endpoint.Settings) { e.Ordered = true }, prepare: func(h *hand) { h.e.draining = true }, window: 1},
		"ordered, and stood": {settings: func(e *endpoint.Settings) { e.Ordered = true }, prepare: func(h *hand) { h.e.lineNext = time.Now().Add(longStand) }, ready: true, window: 1},
		"ordered, and stands": {settings: func(e *endpoint.Settings) { e.Ordered = true }, prepare: func(h *hand) {
			h.e.lineNext = time.Now().Add(longStand + time.Second)
		}, at: time.Second, window: 1},
		"down":                           {prepare: func(h *hand) { opens(h); h.e.inFlight = 2 }, at: 5 * time.Second, window: 3},
		"not ordered, and a line stands": {prepare: func(h *hand) { h.e.lineNext = time.Now().Add(time.Hour) }, ready: true, window: 128},
		"asked to wait": {prepare: func(h *hand) {
			p, _, _ := h.e.gate.Admit(time.Now(), 0)
			r := gotStatus(http.StatusServiceUnavailable)
			r.RetryAfter = time.Minute
			h.e.gate.Done(time.Now(), p, r, false, "msg_x")
		}, at: time.Minute, window: 128},
	} {
		settings := test.settings
		if settings == nil {
			settings = asItIs
		}
		inHand(t, settings, func(h *hand) {
			if test.prepare != nil {
				test.prepare(h)
			}
			ready, at := h.e.LaneReady(time.Now())
			if ready != test.ready || (test.at == 0) != at.IsZero() && !ready || test.at > 0 && time.Until(at) != test.at {
				t.Errorf("%s: ready %v, at %v", name, ready, time.Until(at))
			}
			if got := h.e.LaneWindow(time.Now()); got != test.window {
				t.Errorf("%s: a window of %d, want %d", name, got, test.window)
			}
		})
	}
}

// An endpoint comes back to the fast lane only when nothing of it is anywhere else: it
// would be overtaken, or its order lost.
func TestRejoin(t *testing.T) {
	t.Parallel()
	const calm = 3 * time.Second
	for name, test := range map[string]struct {
		ordered bool
		prepare func(h *hand)
		want    bool
	}{
		"calm":         {want: true},
		"not for long": {prepare: func(h *hand) { h.e.lanedSince = h.e.lanedSince.Add(1) }},
		"ordered":      {ordered: true},
		"on its way":   {prepare: func(h *hand) { h.e.moving = 1 }},
		"waiting":      {prepare: func(h *hand) { h.e.queue = []*delivery{{lane: true}} }},
		"paused":       {prepare: func(h *hand) { h.e.gate.SetPause(&endpoint.Pause{}, time.Now()) }},
		"down":         {prepare: func(h *hand) { opens(h) }},
		"half-open, calm": {prepare: func(h *hand) {
			opens(h)
			probe(h, gotStatus(http.StatusNoContent))
			time.Sleep(calm) //nolint:forbidigo // synctest
		}, want: true},
	} {
		inHand(t, func(e *endpoint.Settings) { e.Ordered = test.ordered }, func(h *hand) {
			h.e.laned.Store(true)
			h.e.lanedSince = time.Now().Add(-calm)
			if test.prepare != nil {
				test.prepare(h)
			}
			if got := h.e.Rejoin(time.Now(), calm); got != test.want || h.e.Laned() == test.want {
				t.Errorf("%s: %v, laned %v", name, got, h.e.Laned())
			}
			h.e.queue = nil
		})
	}
}

// What waits in the fast lane for an endpoint that joins its lane goes there, and what
// came from the lane goes back when that is left.
func TestJoinAndLeaveALane(t *testing.T) {
	t.Parallel()
	inHand(t, func(e *endpoint.Settings) { e.MaxInFlight = 1 }, func(h *hand) {
		h.e.inFlight = 1
		shared := h.wait(h.e, 2, time.Now())
		dl, _, lane := h.first(unchanged)
		h.e.ahead = 7
		laneSide{h.Dispatcher}.receive("a", dl.msg, false)
		if laned, _ := h.Laned("a"); laned {
			t.Error("it is in its lane already")
		}
		laneSide{h.Dispatcher}.Join("a", time.Now())
		laneSide{h.Dispatcher}.Join("b", time.Now())
		if n := h.stored(); n != 2 {
			t.Errorf("%d are moved", n)
		}
		for _, s := range shared {
			h.check(s, "ack")
		}
		if laned, ordered := h.Laned("a"); !laned || ordered {
			t.Errorf("laned %v, ordered %v", laned, ordered)
		}
		if laned, _ := h.Laned("b"); laned {
			t.Error("one that is not known has a lane")
		}
		for _, m := range h.e.TakeLane() {
			m.Nak()
		}
		h.check(lane, "nak")
		if len(h.e.queue) != 0 || h.e.ahead != 0 || h.e.shared != 0 {
			t.Errorf("left: %d, ahead %d, shared %d", len(h.e.queue), h.e.ahead, h.e.shared)
		}
	})
}
