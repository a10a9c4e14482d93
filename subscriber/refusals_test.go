package subscriber

import (
	"cmp"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// What NATS refuses becomes something else, and is acknowledged when that is stored.
func TestRefusalsAreNoAnswers(t *testing.T) {
	t.Parallel()
	verdict := func(want dlq.Reason, attempts string) func(h *hand, m *sent) {
		return func(h *hand, m *sent) {
			h.Helper()
			if reason, n := m.Header.Get(dlq.HeaderReason), m.Header.Get(dlq.HeaderAttempts); reason != string(want) || n != attempts {
				h.Errorf("reason %q after %q attempts, want %q after %s", reason, n, want, attempts)
			}
			if n := m.Header.Get(wire.HeaderAttempt); n != "1" {
				h.Errorf("its attempt is %q", n)
			}
		}
	}
	noAttempt := func(wait time.Duration) func(h *hand, m *sent) {
		return func(h *hand, m *sent) {
			h.Helper()
			if n := m.Header.Get(wire.HeaderAttempt); n != "1" {
				h.Errorf("it counts as an attempt: the next one is %s", n)
			}
			if at, want := m.Header.Get(jetstream.ScheduleHeader), "@at "+time.Now().Add(wait).UTC().Format(time.RFC3339Nano); at != want {
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
		want  string // how it is settled then; default "ack"
	}{
		"a schedule, for what it is": {hop: "a retry", steps: []step{
			{retries, anyOf, errBadMessage}, {letters, verdict(dlq.ReasonUnpublishable, "1"), nil},
		}},
		"a schedule, for its size": {hop: "a retry", steps: []step{
			{retries, anyOf, errTooLarge},
			{retries, func(h *hand, m *sent) {
				if got := m.Header.Get(wire.HeaderLastError); got != "" {
					h.Errorf("it says %q", got)
				}
			}, errTooLarge},
			{letters, verdict(dlq.ReasonTooLarge, "1"), nil},
		}},
		"a schedule, for what its receiver said": {hop: "a retry", steps: []step{{retries, anyOf, errTooLarge}, {retries, anyOf, nil}}},
		"a postponed one, for what it is": {hop: "a postponed delivery", steps: []step{
			{retries, anyOf, errBadMessage}, {letters, verdict(dlq.ReasonUnpublishable, "0"), nil},
		}},
		"a letter, for want of room": {hop: "the letter of a rejected one", steps: []step{
			{letters, verdict(dlq.ReasonRejected, "1"), publish.ErrFull},
			{retries, verdict(dlq.ReasonRejected, "1"), nil},
		}},
		"a letter, for what it is": {hop: "the letter of a rejected one", steps: []step{
			{letters, verdict(dlq.ReasonRejected, "1"), errBadMessage},
			{letters, verdict(dlq.ReasonTooLarge, "1"), errBadMessage},
			{retries, verdict(dlq.ReasonRejected, "1"), nil},
		}},
		"a lane, for want of room": {hop: "one in a lane", steps: []step{{moves, anyOf, publish.ErrFull}, {retries, noAttempt(laneWait), nil}}},
		"a schedule, and the letter that follows is not answered": {hop: "a retry", steps: []step{
			{retries, anyOf, errBadMessage}, {letters, anyOf, errNoAnswer},
		}, want: "nak"},
		"a schedule, and the shorter one is not answered": {hop: "a retry", steps: []step{
			{retries, anyOf, errTooLarge}, {retries, anyOf, errNoAnswer},
		}, want: "nak"},
		"a letter, and its schedule is not answered": {hop: "the letter of a rejected one", steps: []step{
			{letters, anyOf, publish.ErrFull}, {retries, anyOf, errNoAnswer},
		}, want: "nak"},
		"a letter, and its schedule finds no room": {hop: "the letter of a rejected one", steps: []step{
			{letters, anyOf, publish.ErrFull}, {retries, anyOf, publish.ErrFull},
		}, want: "nak"},
		"a lane, and its schedule is not answered": {hop: "one in a lane", steps: []step{
			{moves, anyOf, publish.ErrFull}, {retries, anyOf, errNoAnswer},
		}, want: "nak"},
		"a lane, and its schedule, too": {hop: "one in a lane", steps: []step{
			{moves, anyOf, publish.ErrFull}, {retries, anyOf, errBadMessage}, {letters, verdict(dlq.ReasonUnpublishable, "0"), nil},
		}},
		"a lane, for what it is": {hop: "one in a lane", steps: []step{{moves, anyOf, errBadMessage}, {retries, noAttempt(laneWait), nil}}},
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
				h.check(s, cmp.Or(test.want, "ack"))
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
			time.Sleep(letterWait) //nolint:forbidigo // synctest
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
