package dlq

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/publish"
)

// inHand is a replay whose deliveries a test answers.
func inHand() (r *run, removals chan removal, begin func() *delivered) {
	removals = make(chan removal, 10)
	r = &run{
		beside:   &besides{changed: make(chan struct{}), pending: make(map[int]int), gone: make(Counts)},
		inFlight: make(chan struct{}, 10), checks: make(chan *delivered, 10), removals: removals,
	}
	return r, removals, func() *delivered {
		r.inFlight <- struct{}{}
		return &delivered{run: r, seq: 7, endpoint: "a", round: r.beside.begin()}
	}
}

// A letter is removed only when its delivery is stored, and else stays, as a failure
// that says why.
func TestLetterIsRemovedOnceItsDeliveryIsStored(t *testing.T) {
	t.Parallel()
	refused := &jetstream.APIError{Code: 400, ErrorCode: 10060}
	for name, test := range map[string]struct {
		answer error
		failed error
		stops  bool
	}{
		"stored":       {},
		"waited long":  {answer: publish.ErrStale},
		"no room":      {answer: publish.ErrFull, failed: publish.ErrFull, stops: true},
		"closed":       {answer: publish.ErrClosed, failed: errInterrupted},
		"does not fit": {answer: nats.ErrMaxPayload, failed: errDoesNotFit},
		"refused":      {answer: refused, failed: refused},
	} {
		r, removals, begin := inHand()
		d := begin()
		if len(removals) != 0 {
			t.Fatal("removed before it was stored")
		}
		d.Published(test.answer)
		if removed := len(removals) == 1; removed != (test.answer == nil) {
			t.Errorf("%s: removed %v", name, removed)
		}
		if checked := len(r.checks) == 1; checked != errors.Is(test.answer, publish.ErrStale) {
			t.Errorf("%s: looked at again %v", name, checked)
		}
		o := r.result()
		if test.failed == nil && o.Failed != 0 || test.failed != nil && (o.Failed != 1 || !errors.Is(o.Failures[0].Err, test.failed) || o.Failures[0].Seq != 7) {
			t.Errorf("%s: %+v", name, o)
		}
		if stops := r.stopped.Load() != nil; stops != test.stops {
			t.Errorf("%s: the replay stops: %v", name, stops)
		}
		if inFlight := len(r.inFlight) + len(r.beside.pending); (inFlight == 0) != (test.failed != nil) {
			t.Errorf("%s: in flight: %d", name, inFlight)
		}
	}
}

// What became of a letter that was delivered: one that somebody else removed counts
// for them, unless NATS had its delivery already.
func TestRemovalIsCounted(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for name, test := range map[string]struct {
		gone, known bool
		err         error
		want        Outcome
		beside      int
	}{
		"removed":                    {want: Outcome{Done: 1}},
		"gone":                       {gone: true, want: Outcome{Skipped: 1}, beside: 1},
		"gone, delivered by another": {gone: true, known: true, want: Outcome{Skipped: 1}},
		"cannot be removed":          {err: wrong, want: Outcome{Failed: 1}},
	} {
		r, removals, begin := inHand()
		d := begin()
		d.known = test.known
		d.Published(nil)
		(<-removals).after(test.gone, test.err)
		o := r.result()
		if test.err != nil && (len(o.Failures) != 1 || !errors.Is(o.Failures[0].Err, errNotRemoved) || r.stopped.Load() == nil) {
			t.Errorf("%s: %+v", name, o)
		}
		o.Failures = nil
		if o.Done != test.want.Done || o.Skipped != test.want.Skipped || o.Failed != test.want.Failed || r.beside.gone["a"] != test.beside {
			t.Errorf("%s: %+v, beside %v", name, o, r.beside.gone)
		}
		if len(r.inFlight) != 0 || len(r.beside.pending) != 0 {
			t.Errorf("%s: still in flight", name)
		}
	}
}
