package subscriber

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"
)

// owner is who handed over a direct delivery in a test.
type owner struct {
	mu            sync.Mutex
	said          []string
	env           wire.Envelope
	stale, lapsed bool
}

func (o *owner) say(word string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, word)
}

func (o *owner) Settled(stored bool) {
	o.say(map[bool]string{false: "settled", true: "stored"}[stored])
}
func (o *owner) WriteDown(why Why) { o.say("write down: " + string(why)) }

func (o *owner) Envelope() wire.Envelope { return o.env }
func (o *owner) HopID() string           { return "hop-" + o.env.Key }
func (o *owner) Fresh(time.Time) bool    { return !o.stale }
func (o *owner) Lapsed() bool            { return o.lapsed }

// owned waits until everything rests, and compares what the owner of a delivery heard.
func (h *hand) owned(o *owner, want string) {
	h.Helper()
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := strings.Join(o.said, ", "); got != want {
		h.Errorf("the owner heard %q, want %q", got, want)
	}
}

// direct is an event for the endpoint that was not stored as a delivery. Direct delivery
// is on from then on, with leases that the test answers.
func (h *hand) direct() (*Direct, *owner) {
	h.Dispatcher.direct.on.Store(true)
	if h.leases == nil {
		h.leases = &leaseDesk{came: make(chan *leaseAsk, 1000)}
		h.Dispatcher.direct.store = h.leases
	}
	h.n++
	o := &owner{env: h.envelope()}
	header := nats.Header{"X-Own": {"kept"}}
	x := &Direct{
		Owner:    o,
		Event:    &intake.Message{Msg: &nats.Msg{Subject: "events.x", Header: header, Data: []byte("{}")}, Stream: "EVENTS", Sequence: h.n, Stored: time.Now(), Deliveries: 1},
		Envelope: &wire.Envelope{EventID: o.env.EventID, Subject: o.env.Subject, Accepted: o.env.Accepted, Attempt: 1},
	}
	return x, o
}

// busy has the endpoint begin no attempt.
func (h *hand) busy() { h.e.inFlight = h.e.target.MaxInFlight }

// attempting is a direct delivery whose attempt is being made.
func (h *hand) attempting() (*Direct, *owner) {
	h.Helper()
	h.busy()
	x, o := h.direct()
	if why := h.Offer("a", x); why != Taken {
		h.Fatalf("it is not taken: %s", why)
	}
	if !h.e.withdraw(&x.dl) {
		h.Fatal("it does not wait")
	}
	x.to(attempting)
	return x, o
}

// leased is one that has a lease with the sequence 7.
func (h *hand) leased() (*Direct, *owner) {
	h.Helper()
	x, o := h.attempting()
	h.Secure(x)
	h.asked("take").answer(7, nil)
	h.owned(o, "stored")
	return x, o
}

// ends ends the attempt of a direct delivery.
func (h *hand) ends(x *Direct, r outcome.Result) {
	r.Began = time.Now()
	h.settleDirect(h.work, &x.dl, x, r)
}

// leaseDesk is a leaseStore whose answers a test gives.
type leaseDesk struct{ came chan *leaseAsk }

// leaseAsk is what a lease store is asked for.
type leaseAsk struct {
	verb     string
	sequence uint64
	*nats.Msg
	answers chan leaseAnswer
}

type leaseAnswer struct {
	sequence uint64
	err      error
}

func (a *leaseAsk) answer(sequence uint64, err error) { a.answers <- leaseAnswer{sequence, err} }

func (s *leaseDesk) ask(ctx context.Context, verb string, sequence uint64, msg *nats.Msg) (uint64, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	a := &leaseAsk{verb, sequence, msg, make(chan leaseAnswer, 1)}
	s.came <- a
	select {
	case got := <-a.answers:
		return got.sequence, got.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (s *leaseDesk) take(ctx context.Context, msg *nats.Msg) (uint64, error) {
	return s.ask(ctx, "take", 0, msg)
}

func (s *leaseDesk) replace(ctx context.Context, sequence uint64, msg *nats.Msg) error {
	_, err := s.ask(ctx, "replace", sequence, msg)
	return err
}

func (s *leaseDesk) drop(ctx context.Context, sequence uint64) error {
	_, err := s.ask(ctx, "drop", sequence, nil)
	return err
}

// asked is the only thing that the lease store is asked for.
func (h *hand) asked(verb string) *leaseAsk {
	h.Helper()
	synctest.Wait()
	if n := len(h.leases.came); n != 1 {
		h.Fatalf("asked for %d things, want for one: %s", n, verb)
	}
	a := <-h.leases.came
	if a.verb != verb {
		h.Fatalf("asked to %s, want %s", a.verb, verb)
	}
	return a
}

// unasked checks that it is asked for nothing.
func (h *hand) unasked() {
	h.Helper()
	synctest.Wait()
	if n := len(h.leases.came); n != 0 {
		h.Fatalf("asked to %s", (<-h.leases.came).verb)
	}
}

var errLeaseLost = errors.New("no answer")
