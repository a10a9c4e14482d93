package subscriber

import (
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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
