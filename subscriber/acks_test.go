package subscriber

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/internal/publish"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// becomes is what a delivery becomes: a message that NATS has to store.
type becomes struct {
	ordered bool
	// begin has a delivery become it, and returns where it is published.
	begin func(h *hand) (*held, *mailbox)
	// subject is where, and id the stream of the message that its id names.
	subject, stream string
}

func everyHop() map[string]becomes {
	names := wire.NewNames("")
	log, lane := names.DeliveriesStream(), names.LanesStream()
	retry, letter, toLane := names.RetrySubject("a", "k0"), names.DeadLetterSubject("a"), names.LaneSubject("a")
	settled := func(r outcome.Result) func(h *hand) (*held, *mailbox) {
		return func(h *hand) (*held, *mailbox) {
			dl, env, s := h.delivery(unchanged)
			h.settle(h.work, dl, env, r)
			if r.Status == http.StatusGone {
				return s, h.letters
			}
			return s, h.retries
		}
	}
	processed := func(change func(*delivery)) func(h *hand) (*held, *mailbox) {
		return func(h *hand) (*held, *mailbox) {
			dl, _, s := h.delivery(unchanged)
			change(dl)
			h.beginUnasked(dl)
			return s, h.letters
		}
	}
	return map[string]becomes{
		"a retry":                            {begin: settled(gotStatus(http.StatusInternalServerError)), subject: retry, stream: log},
		"a postponed delivery":               {begin: settled(gotNone(outcome.ClassLocal)), subject: retry, stream: log},
		"the letter of a rejected one":       {begin: settled(gotStatus(http.StatusGone)), subject: letter, stream: log},
		"the letter of a removed endpoint's": {begin: processed(func(dl *delivery) { dl.ep = nil }), subject: letter, stream: log},
		"the letter of an expired one":       {begin: processed(func(dl *delivery) { dl.expired = true }), subject: letter, stream: log},
		"the letter of what is no delivery": {begin: processed(func(dl *delivery) {
			delete(dl.msg.Msg.Header, wire.HeaderEventID)
		}), subject: letter, stream: log},
		"the letter of one with another's name": {begin: processed(func(dl *delivery) {
			dl.msg.Msg.Header.Set(wire.HeaderEndpoint, "b")
		}), subject: letter, stream: log},
		"a letter that waited": {begin: processed(func(dl *delivery) {
			dl.msg.Msg.Header.Set(dlq.HeaderReason, string(dlq.ReasonExhausted))
		}), subject: letter, stream: log},
		"one in a lane": {begin: func(h *hand) (*held, *mailbox) {
			dl, _, s := h.delivery(unchanged)
			h.divert([]*delivery{dl})
			return s, h.moves
		}, subject: toLane, stream: log},
		"an older one of an ordered endpoint": {begin: func(h *hand) (*held, *mailbox) {
			dl, _, s := h.delivery(unchanged)
			h.drainLater([]*delivery{dl})
			return s, h.retries
		}, subject: retry, stream: log},
		"the letter of the line's first": {ordered: true, begin: func(h *hand) (*held, *mailbox) {
			dl, env, s := h.first(unchanged)
			h.settleInPlace(h.work, dl, env, gotStatus(http.StatusGone))
			return s, h.letters
		}, subject: letter, stream: lane},
		"the letter of one that is passed over": {ordered: true, begin: func(h *hand) (*held, *mailbox) {
			dl, env, s := h.first(unchanged)
			head := headOf(&env, time.Now())
			head.Stands, dl.head = true, &head
			if err := state.SkipFirst(h.work, h.bucket, "a", env.Key); err != nil {
				h.Fatal(err)
			}
			if !h.passOver(h.work, dl, env) {
				h.Error("not passed over")
			}
			return s, h.letters
		}, subject: letter, stream: lane},
	}
}

// A delivery is acknowledged when what it became is stored, and not before. That has
// the id of the message that it is made from, so that a repetition is known.
//
// Promise 1.
func TestNothingIsAckedBeforeItIsStored(t *testing.T) {
	t.Parallel()
	for name, hop := range everyHop() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, func(e *endpoint.Settings) { e.Ordered = hop.ordered }, func(h *hand) {
				s, box := hop.begin(h)
				m := h.next(box)
				h.check(s, "")
				from := wire.Position{Stream: hop.stream, Sequence: 100 + h.n, Stored: time.Now()}
				if id := m.Header[nats.MsgIdHdr]; len(id) != 1 || id[0] != from.HopID() {
					t.Errorf("its id is %q, want %q", id, from.HopID())
				}
				if m.Subject != hop.subject {
					t.Errorf("published on %s, want %s", m.Subject, hop.subject)
				}
				if string(m.Data) != "{}" || m.Header.Get("X-Own") != "kept" {
					t.Errorf("%q with %v", m.Data, m.Header)
				}
				m.answer(nil)
				h.check(s, "ack")
			})
		})
	}
}

// Nor is one acknowledged of which it is not known whether it was stored.
func TestWhatIsNotStoredComesAgain(t *testing.T) {
	t.Parallel()
	for name, hop := range everyHop() {
		for _, err := range []error{errNoAnswer, publish.ErrClosed, publish.ErrStale} {
			t.Run(name+"/"+err.Error(), func(t *testing.T) {
				t.Parallel()
				inHand(t, func(e *endpoint.Settings) { e.Ordered = hop.ordered }, func(h *hand) {
					s, box := hop.begin(h)
					h.next(box).answer(err)
					h.check(s, "nak")
				})
			})
		}
		t.Run(name+"/not taken", func(t *testing.T) {
			t.Parallel()
			inHand(t, func(e *endpoint.Settings) { e.Ordered = hop.ordered }, func(h *hand) {
				for _, box := range []*mailbox{h.retries, h.moves, h.letters} {
					box.closed = publish.ErrClosed
				}
				s, _ := hop.begin(h)
				h.check(s, "nak")
			})
		})
	}
}

// What NATS refuses becomes something else, and is acknowledged when that is stored.
func TestRefusalsAreNoAnswers(t *testing.T) {
	t.Parallel()
	verdict := func(want dlq.Reason, attempts string) func(h *hand, m *sent) {
		return func(h *hand, m *sent) {
			h.Helper()
			if reason, n := m.Header.Get(dlq.HeaderReason), m.Header.Get(dlq.HeaderAttempts); reason != string(want) || n != attempts {
				h.Errorf("reason %q after %q attempts, want %q after %s", reason, n, want, attempts)
			}
		}
	}
	noAttempt := func(wait time.Duration) func(h *hand, m *sent) {
		return func(h *hand, m *sent) {
			h.Helper()
			if n := m.Header.Get(wire.HeaderAttempt); n != "1" {
				h.Errorf("it counts as an attempt: the next one is %s", n)
			}
			if at, want := m.Header.Get(headerSchedule), "@at "+time.Now().Add(wait).UTC().Format(time.RFC3339Nano); at != want {
				h.Errorf("it comes again %s, want %s", at, want)
			}
		}
	}
	anyOf := func(*hand, *sent) {}
	retries, moves, letters := "retries", "lanes", "letters"
	type step struct {
		to     string
		check  func(h *hand, m *sent)
		answer error
	}
	for name, test := range map[string]struct {
		hop   string
		steps []step
	}{
		"a schedule, for what it is": {"a retry", []step{
			{retries, anyOf, errBadMessage}, {letters, verdict(dlq.ReasonUnpublishable, "1"), nil},
		}},
		"a schedule, for its size": {"a retry", []step{
			{retries, anyOf, errTooLarge},
			{retries, func(h *hand, m *sent) {
				if got := m.Header.Get(wire.HeaderLastError); got != "" {
					h.Errorf("it says %q", got)
				}
			}, errTooLarge},
			{letters, verdict(dlq.ReasonTooLarge, "1"), nil},
		}},
		"a schedule, for what its receiver said": {"a retry", []step{{retries, anyOf, errTooLarge}, {retries, anyOf, nil}}},
		"a postponed one, for what it is": {"a postponed delivery", []step{
			{retries, anyOf, errBadMessage}, {letters, verdict(dlq.ReasonUnpublishable, "0"), nil},
		}},
		"a letter, for want of room": {"the letter of a rejected one", []step{
			{letters, verdict(dlq.ReasonRejected, "1"), publish.ErrFull},
			{retries, verdict(dlq.ReasonRejected, "1"), nil},
		}},
		"a letter, for what it is": {"the letter of a rejected one", []step{
			{letters, verdict(dlq.ReasonRejected, "1"), errBadMessage},
			{letters, verdict(dlq.ReasonTooLarge, "1"), errBadMessage},
			{retries, verdict(dlq.ReasonRejected, "1"), nil},
		}},
		"a lane, for want of room": {"one in a lane", []step{{moves, anyOf, publish.ErrFull}, {retries, noAttempt(laneWait), nil}}},
		"a lane, for what it is":   {"one in a lane", []step{{moves, anyOf, errBadMessage}, {retries, noAttempt(laneWait), nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, asItIs, func(h *hand) {
				s, _ := everyHop()[test.hop].begin(h)
				for _, step := range test.steps {
					m := h.next(map[string]*mailbox{retries: h.retries, moves: h.moves, letters: h.letters}[step.to])
					h.check(s, "")
					step.check(h, m)
					m.answer(step.answer)
				}
				h.check(s, "ack")
			})
		})
	}
}

// What nobody takes stays here, and is tried again: also when the process ends.
func TestWhatNobodyTakesIsTriedAgain(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		dl, env, s := h.delivery(unchanged)
		h.settle(h.work, dl, env, gotStatus(http.StatusGone))
		for range 3 {
			h.next(h.letters).answer(publish.ErrFull)
			h.next(h.retries).answer(errBadMessage)
			h.check(s, "")
			time.Sleep(letterWait)
		}
		h.next(h.letters).answer(nil)
		h.check(s, "ack")
	})
	inHand(t, asItIs, func(h *hand) {
		dl, _, s := h.delivery(unchanged)
		h.deadLetterLater(h.work, dl, wire.Envelope{Endpoint: "a", Key: "k"}, dlq.ReasonRejected, 1)
		h.next(h.letters).answer(publish.ErrFull)
		h.next(h.retries).answer(errBadMessage)
		h.check(s, "")
		h.stopWork()
		h.check(s, "nak")
	})
}

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

// The first delivery of a line that waited here was settled elsewhere if the floor of
// the lane's consumer has passed it. It is attempted if not, and waits if that is not
// known.
func TestOrderedHeadThatWasSettledElsewhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		floor   int // beyond the delivery
		err     error
		settled bool
		said    string
	}{
		"before it": {floor: -1},
		"itself":    {floor: 0, settled: true, said: "ack"},
		"beyond it": {floor: 1000, settled: true, said: "ack"},
		"not known": {err: errors.New("no answer"), settled: true},
	} {
		inHand(t, func(e *endpoint.Settings) { e.Ordered = true }, func(h *hand) {
			dl, env, s := h.first(unchanged)
			h.opts.LookLane = lookLane(func(info *jetstream.ConsumerInfo) error {
				info.AckFloor.Stream = dl.msg.Sequence + uint64(test.floor)
				return test.err
			})
			if got := h.settledElsewhere(h.work, dl); got != test.settled {
				t.Errorf("%s: %v", name, got)
			}
			h.check(s, test.said)
			if waits := len(h.e.queue) == 1; waits != (test.err != nil) {
				t.Errorf("%s: it waits in the line: %v", name, waits)
			}
			// The attempt begins with that question.
			if test.settled && test.err == nil {
				head := headOf(&env, time.Now())
				dl.head = &head
				h.inPlace(h.work, dl, env)
				h.check(s, "ack ack")
			}
		})
	}
}

// A line begins only when two looks in a row found nothing older: a delivery may have
// been on its way into the log at the first.
func TestTwoLooksEndADrain(t *testing.T) {
	t.Parallel()
	for looks, want := range map[string]bool{"": true, "1": true, "0": true, "00": false, "010": true, "0100": false, "00100": false} {
		e := &member{draining: true}
		for _, look := range looks {
			e.drained(look == '0')
		}
		if got := e.isDraining(); got != want {
			t.Errorf("after looks that found %q the line waits: %v", looks, got)
		}
	}
	inHand(t, asItIs, func(h *hand) {
		h.e.drainedOnce = true // of a time before
		ordered := h.e.target.Settings
		ordered.Ordered = true
		target := *h.e.target
		target.Settings = ordered
		h.e.configure(&target, time.Now())
		if h.e.drained(true); !h.e.isDraining() {
			t.Error("one look ended it")
		}
	})
}
