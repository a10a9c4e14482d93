package subscriber

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

func ordered(e *endpoint.Settings) { e.Ordered = true }

func blocking(e *endpoint.Settings) {
	e.Ordered, e.Block = true, true
	e.Retry.Schedule = nil
}

// head is what is stored of the endpoint's line.
func (h *hand) head() state.Head {
	h.Helper()
	stored, _, err := state.HeadOf(h.work, h.bucket, "a")
	if err != nil {
		h.Fatal(err)
	}
	return stored
}

// The first delivery of a line is retried in place: it stays at the head of the line,
// unsettled, until its time, and how often it was attempted is stored.
func TestFirstOfALineIsRetriedInPlace(t *testing.T) {
	t.Parallel()
	inHand(t, ordered, func(h *hand) {
		dl, env, s := h.first(func(e *wire.Envelope) { e.LastStatus, e.LastError = 500, "5xx" })
		r := gotNone(outcome.ClassTimeout)
		r.Began = time.Now()
		h.settleInPlace(h.work, dl, env, r)
		h.check(s, "")
		wait := h.e.target.Retry.Schedule[0]
		stored := h.head()
		want := state.Head{
			Delivery: deliveryName(&env), Attempt: 2, Next: time.Now().Add(wait), First: r.Began, Last: r.Began, Error: r.Failure(),
		}
		if !stored.Next.Equal(want.Next) || !stored.First.Equal(want.First) || !stored.Last.Equal(want.Last) {
			t.Errorf("stored %+v, want %+v", stored, want)
		}
		stored.Next, stored.First, stored.Last = want.Next, want.First, want.Last
		if stored != want {
			t.Errorf("stored %+v, want %+v", stored, want)
		}
		if len(h.e.queue) != 1 || h.e.queue[0] != dl || !dl.notBefore.Equal(time.Now().Add(wait)) {
			t.Errorf("not at the head of the line until its time: %+v", dl)
		}
		if h.e.start(time.Now().Add(wait-1)) != nil {
			t.Error("it begins before its time")
		}
		if n := counted(h, h.e.metrics.retry()); n != 1 {
			t.Errorf("%v retries", n)
		}
	})
	// While it cannot be stored it is known here.
	inHand(t, ordered, func(h *hand) {
		h.bucket.fails = errNoAnswer
		dl, env, s := h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(500))
		h.check(s, "")
		if dl.head == nil || dl.head.Attempt != 2 || len(h.e.queue) != 1 {
			t.Errorf("%+v", dl.head)
		}
	})
	inHand(t, ordered, func(h *hand) {
		dl, env, s := h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(204))
		h.check(s, "ack")
		dl, env, s = h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotNone(outcome.ClassLocal)) // no attempt
		h.check(s, "")
		if len(h.e.queue) != 1 || dl.head != nil || !dl.notBefore.Equal(time.Now().Add(localWait)) {
			t.Errorf("%+v", dl)
		}
		h.e.stop()
		dl, env, s = h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(500))
		h.check(s, "nak") // its endpoint was stopped meanwhile
	})
}

// What is known of a line's first delivery is looked up whenever somebody else may have
// attempted it; else it is not, and what is stored of others does not count.
func TestRecall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		known      bool
		deliveries uint64
		stored     func(*state.Head)
		fails      error
		attempt    int
		gets       int
	}{
		"known here":              {known: true, deliveries: 1, attempt: 1},
		"handed out again":        {known: true, deliveries: 2, attempt: 5, gets: 1},
		"opened anew":             {deliveries: 1, attempt: 5, gets: 1},
		"of another delivery":     {deliveries: 2, stored: func(h *state.Head) { h.Delivery = "k9/0" }, attempt: 1, gets: 1},
		"of no attempt":           {deliveries: 2, stored: func(h *state.Head) { h.Attempt = 0 }, attempt: 1, gets: 1},
		"of a replay before this": {deliveries: 2, stored: func(h *state.Head) { h.Delivery += "0" }, attempt: 1, gets: 1},
		"not to be known":         {deliveries: 2, fails: errNoAnswer, gets: 1},
	} {
		inHand(t, ordered, func(h *hand) {
			dl, env, _ := h.first(unchanged)
			dl.msg.Deliveries, h.e.headKnown = test.deliveries, test.known
			head := headOf(&env, time.Now())
			head.Attempt = 5
			if test.stored != nil {
				test.stored(&head)
			}
			if err := state.StoreHead(h.work, h.bucket, "a", head); err != nil {
				t.Fatal(err)
			}
			h.bucket.fails = test.fails
			got, err := h.recall(h.work, dl, &env)
			if !errors.Is(err, test.fails) || got.Attempt != test.attempt || h.bucket.gets != test.gets {
				t.Errorf("%s: attempt %d, %v, after %d questions", name, got.Attempt, err, h.bucket.gets)
			}
			if planned := !dl.planned.IsZero(); planned != (test.attempt == 5) {
				t.Errorf("%s: planned by another: %v", name, planned)
			}
			if known := h.e.knowsHead(); known != (test.fails == nil) {
				t.Errorf("%s: known from now on: %v", name, known)
			}
			// Nor is one attempted before its time.
			if test.attempt == 5 {
				dl.head = nil
				h.e.headKnown = false
				head.Next = time.Now().Add(time.Hour)
				if err := state.StoreHead(h.work, h.bucket, "a", head); err != nil {
					t.Fatal(err)
				}
				h.inPlace(h.work, dl, env)
				if len(h.e.queue) != 1 || !dl.notBefore.Equal(head.Next) {
					t.Errorf("%s: it does not wait for its time: %+v", name, dl)
				}
			}
			// Without an answer nothing is attempted.
			if test.fails != nil {
				h.inPlace(h.work, dl, env)
				if len(h.e.queue) != 1 || dl.head != nil || !dl.notBefore.Equal(time.Now().Add(unknownWait)) {
					t.Errorf("%s: it does not wait: %+v", name, dl)
				}
			}
		})
	}
}

// A line whose first delivery used up its attempts stands, if it is to: the endpoint is
// paused, and the delivery is not settled. Else, and for any other reason, the line
// goes on.
func TestLineThatStands(t *testing.T) {
	t.Parallel()
	inHand(t, blocking, func(h *hand) {
		var told endpoint.Pause
		h.opts.OnPause = func(_ context.Context, _ string, p endpoint.Pause) { told = p }
		dl, env, s := h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(500))
		h.check(s, "")
		p, err := state.PauseOf(h.work, h.bucket, "a")
		if err != nil || p == nil || p.By != endpoint.PausedByFanjet || p.Blocked != env.Key || !told.Equal(*p) {
			t.Errorf("paused: %+v, %v; told %+v", p, err, told)
		}
		if stored := h.head(); !stored.Stands || stored.Attempt != 1 || stored.Attempts != 1 || stored.Status != 500 {
			t.Errorf("stored: %+v", stored)
		}
		if len(h.e.queue) != 1 || !h.e.gate.IsPaused() {
			t.Errorf("%d wait, paused %v", len(h.e.queue), h.e.gate.IsPaused())
		}
		// It goes on to stand until it is resumed, and is attempted anew then.
		h.e.queue = nil
		if !h.passOver(h.work, dl, env) || len(h.e.queue) != 1 {
			t.Error("it does not wait for the operator")
		}
		h.check(s, "")
		if _, err := state.ClearPause(h.work, h.bucket, "a"); err != nil {
			t.Fatal(err)
		}
		if h.passOver(h.work, dl, env) || dl.head.Stands || !dl.head.First.IsZero() {
			t.Errorf("it is not tried anew: %+v", dl.head)
		}
	})
	inHand(t, blocking, func(h *hand) {
		dl, env, s := h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(http.StatusGone)) // rejected: it does not help to wait
		h.next(h.letters).answer(nil)
		h.check(s, "ack")
	})
	inHand(t, func(e *endpoint.Settings) { blocking(e); e.Retry.Schedule = []time.Duration{time.Hour} }, func(h *hand) {
		dl, env, s := h.first(func(e *wire.Envelope) { e.Accepted = time.Now().Add(-h.e.target.Retry.MaxAge) })
		h.settleInPlace(h.work, dl, env, gotStatus(500)) // too old
		h.check(s, "")
		if !h.head().Stands {
			t.Error("a line whose first delivery is too old goes on")
		}
	})
	inHand(t, func(e *endpoint.Settings) { blocking(e); e.Block = false }, func(h *hand) {
		dl, env, s := h.first(unchanged)
		h.settleInPlace(h.work, dl, env, gotStatus(500))
		m := h.next(h.letters)
		if reason, n := dlq.Verdict(m.Header); reason != dlq.ReasonExhausted || n != 1 {
			t.Errorf("%s after %d attempts", reason, n)
		}
		m.answer(nil)
		h.check(s, "ack")
	})
}

// An operator's word to pass over a delivery counts for that one, and is removed once
// it has a letter.
func TestPassOver(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		word  string
		fails error
		skips bool
		waits bool
	}{
		"for it":          {word: "k0", skips: true},
		"for another":     {word: "k9"},
		"none":            {},
		"not to be known": {word: "k0", fails: errNoAnswer, waits: true},
	} {
		inHand(t, blocking, func(h *hand) {
			dl, env, s := h.first(unchanged)
			head := headOf(&env, time.Now())
			head.Stands, head.Attempts, head.Status, head.First = true, 4, 500, time.Now()
			dl.head = &head
			if test.word != "" {
				if err := state.SkipFirst(h.work, h.bucket, "a", test.word); err != nil {
					t.Fatal(err)
				}
			}
			h.bucket.fails = test.fails
			h.opts.Consumers = lookLane(func(*jetstream.ConsumerInfo) error { return nil })
			if test.skips || test.waits {
				h.inPlace(h.work, dl, env) // and it is not attempted
			} else if h.passOver(h.work, dl, env) {
				t.Errorf("%s: passed over", name)
			}
			if got := len(h.e.queue) == 1; got != test.waits {
				t.Errorf("%s: it waits: %v", name, got)
			}
			if !test.skips {
				h.check(s, "")
				return
			}
			m := h.next(h.letters)
			got, _ := wire.ReadEnvelope(m.Header)
			if _, n := dlq.Verdict(m.Header); n != 4 || got.LastStatus != 500 || !got.FirstAttempt.Equal(head.First) {
				t.Errorf("%s: %d attempts, %+v", name, n, got)
			}
			h.check(s, "")
			m.answer(nil)
			h.check(s, "ack")
			if word, err := state.Skipped(h.work, h.bucket, "a"); word != "" || err != nil {
				t.Errorf("%s: the word is still there: %q, %v", name, word, err)
			}
		})
	}
}
