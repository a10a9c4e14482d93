package subscriber

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/dlq"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// errConflict says that the subject of a schedule has another one.
var errConflict = &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence, Description: "wrong last sequence"}

// A direct attempt that failed goes on as a schedule, which takes no other's place. Its
// event is settled when that is stored, or there is another one.
func TestDirectFailureIsScheduled(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer  error
		said    string
		retries float64
	}{
		"stored":             {nil, "stored", 1},
		"has another life":   {errConflict, "stored", 0},
		"no answer any more": {publish.ErrClosed, "write down: " + string(WhyUndone), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, finalStatus, func(h *hand) {
				x, o := h.attempting()
				h.ends(x, fails)
				m := h.next(h.retries)
				h.owned(o, "")
				env, err := wire.ReadEnvelope(m.Header)
				if err != nil || env.Attempt != 2 || env.Key != o.env.Key || env.Endpoint != "a" || env.Source != o.env.Source {
					t.Errorf("its schedule is of %+v: %v", env, err)
				}
				for header, want := range map[string]string{
					nats.MsgIdHdr: o.HopID() + "/2", jetstream.ExpectedLastSubjSeqHeader: "0", "X-Own": "kept",
					jetstream.ScheduleHeader: "@at " + time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano),
				} {
					if got := m.Header.Get(header); got != want {
						t.Errorf("%s: %q, want %q", header, got, want)
					}
				}
				m.answer(tt.answer)
				h.owned(o, tt.said)
				if n := counted(h, h.e.metrics.retry()); n != tt.retries {
					t.Errorf("%v retries", n)
				}
			})
		})
	}
}

// One that is final becomes a letter; what waits because that is not taken is not stored
// beside another life of it.
func TestDirectFinalFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ letter, schedule error }{
		"taken":                       {nil, nil},
		"not taken":                   {publish.ErrFull, nil},
		"not taken, and another life": {publish.ErrFull, errConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, finalStatus, func(h *hand) {
				x, o := h.attempting()
				h.ends(x, rejects)
				h.next(h.letters).answer(tt.letter)
				if tt.letter != nil {
					m := h.next(h.retries)
					reason, attempts := dlq.Verdict(m.Header)
					if id := m.Header.Get(nats.MsgIdHdr); id != o.HopID()+"/1" || reason != dlq.ReasonRejected || attempts != 1 {
						t.Errorf("what waits is %v", m.Header)
					}
					h.owned(o, "")
					m.answer(tt.schedule)
				}
				h.owned(o, "stored")
			})
		})
	}
}

// Of an event that others may have nothing is stored: its owner decides.
func TestDirectFailureOfALapsedEvent(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, o := h.attempting()
		o.lapsed = true
		h.ends(x, fails)
		h.owned(o, "write down: "+string(WhyUndone))
		x, o = h.attempting()
		o.lapsed = true
		h.ends(x, accepts)
		h.owned(o, "settled")
		x, o = h.attempting()
		h.ends(x, interrupted)
		h.owned(o, "write down: "+string(WhyUndone))
		synctest.Wait()
	})
}
