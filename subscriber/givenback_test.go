package subscriber

import (
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// A delivery that the server took back is somebody else's: nothing is made of it.
func TestLapsedDeliveriesAreLetGo(t *testing.T) {
	t.Parallel()
	for _, r := range []outcome.Result{gotStatus(500), gotStatus(410), gotNone(outcome.ClassLocal), gotNone(outcome.ClassInterrupted)} {
		inHand(t, asItIs, func(h *hand) {
			dl, env, s := h.delivery(unchanged)
			s.lapsed = true
			h.settle(h.work, dl, env, r)
			h.check(s, "nak")
		})
	}
	inHand(t, asItIs, func(h *hand) {
		dl, env, s := h.delivery(unchanged)
		s.lapsed = true
		h.settle(h.work, dl, env, gotStatus(204)) // it has its event
		h.check(s, "ack")
	})
	inHand(t, asItIs, func(h *hand) {
		dl, _, s := h.delivery(unchanged)
		s.lapsed, h.e.moving = true, 1
		h.divert([]*delivery{dl})
		h.check(s, "nak")
		if h.e.moving != 0 {
			t.Error("it still counts as on its way")
		}
	})
	inHand(t, asItIs, func(h *hand) {
		dl, _, s := h.delivery(unchanged)
		s.lapsed, dl.ep = true, nil
		h.beginUnasked(dl)
		h.check(s, "nak")
	})
}

// What was not attempted, or was interrupted, comes again as it is.
func TestInterruptedDeliveriesAreGivenBack(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		dl, env, s := h.delivery(unchanged)
		h.settle(h.work, dl, env, gotNone(outcome.ClassInterrupted))
		h.check(s, "nak")
		dl, env, s = h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotNone(outcome.ClassInterrupted))
		h.check(s, "nak")
		h.stopWork()
		dl, _, s = h.delivery(unchanged)
		h.process(h.work, dl)
		h.check(s, "nak")
	})
}

// A stop gives back what waits, and what comes after it.
func TestStopGivesBackWhatWaits(t *testing.T) {
	t.Parallel()
	inHand(t, func(e *endpoint.Settings) { e.MaxInFlight = 1 }, func(h *hand) {
		h.e.inFlight = 1 // so that nothing begins
		var all []*held
		receive := func() {
			dl, _, s := h.delivery(unchanged)
			h.admit(dl.msg)
			all = append(all, s)
			dl, _, s = h.first(unchanged)
			laneSide{h.Dispatcher}.receive("a", dl.msg, false)
			all = append(all, s)
		}
		receive()
		for _, s := range all {
			h.check(s, "")
		}
		h.stopEndpoints()
		receive()
		for _, s := range all {
			h.check(s, "nak")
		}
	})
}

// What is published says how the latest attempt ended, and nothing of those before.
func TestScheduleSaysHowTheLatestAttemptEnded(t *testing.T) {
	t.Parallel()
	for _, r := range []outcome.Result{gotStatus(503), gotNone(outcome.ClassConnect)} {
		inHand(t, asItIs, func(h *hand) {
			long := time.Now().Add(-time.Hour).UTC()
			dl, env, s := h.delivery(func(e *wire.Envelope) {
				e.Attempt, e.FirstAttempt, e.LastAttempt, e.LastStatus, e.LastError = 3, long, long.Add(time.Minute), 500, "5xx"
			})
			r.Began = time.Now().Add(-time.Second)
			h.settle(h.work, dl, env, r)
			m := h.next(h.retries)
			got, err := wire.ReadEnvelope(m.Header)
			want := env
			want.Attempt, want.LastAttempt, want.LastStatus, want.LastError = 4, r.Began.UTC(), r.Status, r.Failure()
			if err != nil || !got.Accepted.Equal(want.Accepted) {
				t.Errorf("%+v, %v", got, err)
			}
			if got.Accepted = want.Accepted; got != want {
				t.Errorf("it says\n%+v, want\n%+v", got, want)
			}
			m.answer(nil)
			h.check(s, "ack")
		})
	}
}

// A retry counts once its schedule is stored, and the series of its endpoint stays
// until then.
func TestRetriesCountWhenStored(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		dl, env, s := h.delivery(unchanged)
		h.settle(h.work, dl, env, gotStatus(500))
		m := h.next(h.retries)
		if n := h.e.metrics.settling.Load(); n != 1 {
			t.Errorf("%d are being stored", n)
		}
		m.answer(nil)
		h.check(s, "ack")
		dl, env, s = h.delivery(unchanged)
		h.settle(h.work, dl, env, gotStatus(500))
		h.next(h.retries).answer(errNoAnswer)
		h.check(s, "nak")
		if n := counted(h, h.e.metrics.retry()); n != 1 {
			t.Errorf("%v retries", n)
		}
		if n := h.e.metrics.settling.Load(); n != 0 {
			t.Errorf("%d are being stored", n)
		}
	})
}

// What waits for an endpoint that is removed goes to its lane, where it waits for the
// grace time; what came from there goes back.
func TestRemovedEndpointsDeliveriesGoToTheLane(t *testing.T) {
	t.Parallel()
	settings := endpointAt(t, "https://a.example/", func(e *endpoint.Settings) { e.MaxInFlight = 1 })
	inHand(t, func(e *endpoint.Settings) { *e = settings }, func(h *hand) {
		h.e.inFlight = 1
		shared := h.wait(h.e, 2, time.Now())
		dl, _, lane := h.first(unchanged)
		laneSide{h.Dispatcher}.receive("a", dl.msg, false)
		var err error
		if h.e.target, err = attempt.NewTarget(settings, egress.New(onLoopback, egress.GuardOptions{}), "", h.conns); err != nil {
			t.Fatal(err)
		}
		h.divertRemoved(h.e)
		h.check(lane, "nak")
		for _, s := range shared {
			h.check(s, "")
		}
		if n := h.stored(); n != 2 {
			t.Errorf("%d are moved", n)
		}
		for _, s := range shared {
			h.check(s, "ack")
		}
	})
}
