package subscriber

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

var (
	accepts     = outcome.Result{Class: outcome.Class2xx, Status: http.StatusOK}
	fails       = outcome.Result{Class: outcome.Class5xx, Status: http.StatusInternalServerError}
	rejects     = outcome.Result{Class: outcome.Class4xx, Status: http.StatusUnprocessableEntity}
	interrupted = outcome.Result{Class: outcome.ClassInterrupted, Err: outcome.ErrInterrupted}
	local       = outcome.Result{Class: outcome.ClassLocal}
)

func finalStatus(s *endpoint.Settings) {
	s.DeadLetterOn = []int{http.StatusUnprocessableEntity}
	s.Retry.Schedule = []time.Duration{time.Minute}
	s.Timeout = 10 * time.Second
}

// An attempt that is made is leased, once: as a schedule that fires when it is over for
// sure. What waits, or is being settled, is not.
func TestSecure(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, o := h.attempting()
		x.phase = waiting // a worker has just got it
		h.Secure(x)
		h.unasked()
		x.to(attempting)
		h.Secure(x)
		h.Secure(x)
		a := h.asked("take")
		if id, due := a.Header.Get(nats.MsgIdHdr), a.Header.Get(jetstream.ScheduleHeader); id != o.HopID()+"/lease" ||
			due != "@at "+time.Now().Add(15*time.Second).UTC().Format(time.RFC3339Nano) {
			t.Errorf("the lease %s is due %s", id, due)
		}
		if env, err := wire.ReadEnvelope(a.Header); err != nil || env.Attempt != 1 || env.Key != o.env.Key ||
			a.Subject != h.opts.Names.RetrySubject("a", o.env.Key) || a.Header.Get("X-Own") != "kept" {
			t.Errorf("the lease is on %s with %v: %v", a.Subject, a.Header, err)
		}
		h.owned(o, "") // it is not stored yet
		a.answer(7, nil)
		h.owned(o, "stored")
		if n := counted(h, h.metrics.leases); n != 1 {
			t.Errorf("%v leases", n)
		}
		h.ends(x, accepts)
		h.asked("drop").answer(0, nil)

		x, o = h.attempting()
		h.ends(x, accepts)
		h.Secure(x)
		h.unasked()
		h.owned(o, "settled")
	})
}

// A process takes so many leases in a second, and no more.
func TestLeasesAreLimited(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		var all []*Direct
		for range 2*leasesPerSecond + 1 {
			x, _ := h.attempting()
			all = append(all, x)
		}
		for _, want := range []int{leasesPerSecond, leasesPerSecond, 1} {
			for _, x := range all {
				h.Secure(x)
			}
			synctest.Wait()
			if n := len(h.leases.came); n != want {
				t.Errorf("%d leases, want %d", n, want)
			}
			for len(h.leases.came) > 0 {
				(<-h.leases.came).answer(1, nil)
			}
			time.Sleep(time.Second) //nolint:forbidigo // synctest
		}
	})
}

// An endpoint that needs a lease for more than its share gets nothing directly for a
// while; one that needs fewer does.
func TestEndpointThatNeedsLeases(t *testing.T) {
	t.Parallel()
	for each, direct := range map[int]bool{25: false, 100: true} {
		inHand(t, asItIs, func(h *hand) {
			for i := range 2000 {
				if h.e.leased -= h.e.leased / leaseOver; i%each == 0 { // an attempt begins
					h.e.noteLease(time.Now())
				}
			}
			x, _ := h.direct()
			h.busy()
			if why := h.Offer("a", x); (why == Taken) != direct {
				t.Errorf("with a lease for each %d attempts: %q", each, why)
			}
			time.Sleep(leaseRest) //nolint:forbidigo // synctest
			if why := h.Offer("a", x); why != Taken {
				t.Errorf("after a rest: %q", why)
			}
		})
	}
}

// A direct attempt that begins counts for that share.
func TestAttemptsOutweighLeases(t *testing.T) {
	t.Parallel()
	inHand(t, asItIs, func(h *hand) {
		h.busy()
		x, _ := h.direct()
		h.Offer("a", x)
		h.e.leased, h.e.inFlight = 1, 0
		dl := h.e.start(time.Now())
		if dl != &x.dl || h.e.leased != 1-1.0/leaseOver {
			t.Errorf("%v of its attempts are leased", h.e.leased)
		}
		h.e.finish(dl, time.Now())
		h.begun.Done()
	})
}

// leaseEnds are what becomes of a lease when its attempt ends.
var leaseEnds = map[string]struct {
	result  outcome.Result
	verb    string
	id      string // of what takes its place, behind that of the fan-out
	attempt int
	after   time.Duration // when it is due
	reason  dlq.Reason
	retries float64
}{
	"accepted":    {accepts, "drop", "", 0, 0, "", 0},
	"failed":      {fails, "replace", "/2", 2, time.Minute, "", 1},
	"final":       {rejects, "replace", "/1", 1, 0, dlq.ReasonRejected, 0},
	"interrupted": {interrupted, "replace", "/1", 1, 0, "", 0},
	"local":       {local, "replace", "/1", 1, localWait, "", 0},
}

// A lease is dropped or replaced by what its delivery becomes, by its sequence, and not
// before it is known to be stored. NATS is asked until it answers.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	for name, tt := range leaseEnds {
		for _, faults := range []int{0, 2} {
			t.Run(name+" with "+strconv.Itoa(faults)+" faults", func(t *testing.T) {
				t.Parallel()
				inHand(t, finalStatus, func(h *hand) {
					x, o := h.attempting()
					h.Secure(x)
					for range faults {
						h.asked("take").answer(0, errLeaseLost)
						h.unasked()
						time.Sleep(leaseAgain) //nolint:forbidigo // synctest
					}
					taken := h.asked("take")
					h.ends(x, tt.result)
					h.unasked() // nothing is undone yet
					h.owned(o, "")
					taken.answer(7, nil)
					for range faults {
						h.asked(tt.verb).answer(0, errLeaseLost)
						h.unasked()
						time.Sleep(leaseAgain) //nolint:forbidigo // synctest
					}
					a := h.asked(tt.verb)
					if a.sequence != 7 {
						t.Errorf("of the sequence %d", a.sequence)
					}
					if tt.verb == "replace" {
						env, err := wire.ReadEnvelope(a.Header)
						reason, attempts := dlq.Verdict(a.Header)
						if id := a.Header.Get(nats.MsgIdHdr); id != o.HopID()+tt.id || err != nil || env.Attempt != tt.attempt || reason != tt.reason {
							t.Errorf("it is replaced by %s: %+v, %v, %v", id, env, err, reason)
						}
						if tt.reason != "" && (attempts != 1 || env.LastStatus != tt.result.Status) {
							t.Errorf("%d attempts, the last one %+v", attempts, env)
						}
						began := time.Now().Add(-time.Duration(faults) * leaseAgain)
						if due := a.Header.Get(jetstream.ScheduleHeader); due != "@at "+began.Add(tt.after).UTC().Format(time.RFC3339Nano) {
							t.Errorf("due %s", due)
						}
					}
					if n := counted(h, h.e.metrics.retry()); n != 0 {
						t.Errorf("%v retries before it is stored", n)
					}
					a.answer(0, nil)
					h.owned(o, "stored")
					h.unasked()
					if n := counted(h, h.e.metrics.retry()); n != tt.retries {
						t.Errorf("%v retries", n)
					}
					if len(h.Dispatcher.direct.running) != 0 || h.Dispatcher.direct.leased.Load() != 0 {
						t.Error("it counts as running")
					}
				})
			})
		}
	}
}

// Of a lease that has fired, here or while it was asked for, the result counts for
// nothing: the delivery goes on from there.
func TestLeaseThatFiredElsewhere(t *testing.T) {
	t.Parallel()
	for name, tt := range leaseEnds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, finalStatus, func(h *hand) {
				x, o := h.leased()
				h.ends(x, tt.result)
				h.asked(tt.verb).answer(0, errLeaseLost)
				synctest.Wait()
				time.Sleep(leaseAgain) //nolint:forbidigo // synctest
				h.asked(tt.verb).answer(0, errFired)
				h.owned(o, "stored")
				h.unasked()
				if n, retries := counted(h, h.metrics.leasesFired), counted(h, h.e.metrics.retry()); n != 1 || retries != 0 {
					t.Errorf("%v have fired, %v retries", n, retries)
				}

				x, o = h.attempting() // its delivery has another life already
				h.Secure(x)
				h.asked("take").answer(0, errFired)
				h.owned(o, "stored")
				h.ends(x, tt.result)
				h.owned(o, "stored")
				h.unasked()
			})
		})
	}
}

// due receives the lease of a delivery that came due.
func (h *hand) due(o *owner) *held {
	m, s := h.message(h.opts.Names.RetriesStream(), h.opts.Names.DueSubject("a"), o.env)
	h.admit(m)
	synctest.Wait()
	return s
}

// A lease that fires while its attempt is still made here waits for the result, and is
// settled by it.
func TestLeaseThatFiresHere(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		result outcome.Result
		said   string
	}{
		"accepted": {accepts, "ack"}, "failed": {fails, "ack"}, "final": {rejects, "ack"}, "interrupted": {interrupted, "nak"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, finalStatus, func(h *hand) {
				x, o := h.leased()
				s := h.due(o)
				h.check(s, "")
				if len(h.e.queue) != 0 {
					t.Fatal("a second attempt is made")
				}
				h.ends(x, tt.result)
				synctest.Wait()
				switch name {
				case "failed":
					m := h.next(h.retries)
					if env, err := wire.ReadEnvelope(m.Header); err != nil || env.Attempt != 2 || m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != "" {
						t.Errorf("it goes on as %v: %v", m.Header, err)
					}
					h.check(s, "")
					m.answer(nil)
				case "final":
					h.next(h.letters).answer(nil)
				}
				h.check(s, tt.said)
				h.owned(o, "stored")
				h.unasked()
			})
		})
	}
}

// So does one of which it is not known yet that it is stored, also when the attempt ends
// before that.
func TestLeaseThatFiresUnknown(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, o := h.attempting()
		h.Secure(x)
		a := h.asked("take")
		h.ends(x, accepts)
		s := h.due(o)
		if len(h.e.queue) != 0 {
			t.Fatal("a second attempt is made")
		}
		a.answer(7, nil)
		h.check(s, "ack")
		h.owned(o, "stored")
		h.unasked()
	})
}

// One that comes when the attempt is over is attempted as others are.
func TestLeaseThatFiresLater(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, o := h.leased()
		h.ends(x, accepts)
		a := h.asked("drop")
		h.due(o)
		if len(h.e.queue) != 1 {
			t.Error("it is lost")
		}
		a.answer(0, errFired)
		synctest.Wait()
		h.due(o)
		if len(h.e.queue) != 2 {
			t.Error("it is lost")
		}
	})
}

// Where there is no room for a lease, an attempt that ends needs none: its event is not
// held for it. Before it ends it is tried again.
func TestLeaseWithoutRoom(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]outcome.Result{"accepted": accepts, "failed": fails} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inHand(t, finalStatus, func(h *hand) {
				x, o := h.attempting()
				h.Secure(x)
				h.asked("take").answer(0, errNotTaken)
				synctest.Wait()
				time.Sleep(leaseAgain) //nolint:forbidigo // synctest
				a := h.asked("take")
				h.ends(x, result)
				a.answer(0, errNotTaken)
				synctest.Wait()
				if name == "failed" {
					m := h.next(h.retries)
					if id := m.Header.Get(nats.MsgIdHdr); id != o.HopID()+"/2" || m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != "0" {
						t.Errorf("its schedule is %v", m.Header)
					}
					h.owned(o, "")
					m.answer(nil)
					h.owned(o, "stored")
				} else {
					h.owned(o, "settled")
				}
				time.Sleep(time.Minute) //nolint:forbidigo // synctest
				h.unasked()
			})
		})
	}
}

// A receiver's words that are too long for what takes the place of a lease do not cost
// the event its retries.
func TestLeaseWithTooManyWords(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, _ := h.leased()
		r := fails
		r.Told = "many words"
		h.ends(x, r)
		h.asked("replace").answer(0, errTooLarge)
		a := h.asked("replace")
		if env, err := wire.ReadEnvelope(a.Header); err != nil || env.LastError != "" || env.Attempt != 2 {
			t.Errorf("%+v %v", env, err)
		}
		a.answer(0, nil)
	})
}

// A stop has NATS asked once more, to the end: what becomes of a lease is stored, and it is
// known whether there is one. An event without one goes back.
func TestStopWithLeases(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errLeaseLost} {
		inHand(t, finalStatus, func(h *hand) {
			x, _ := h.leased()
			other, o := h.attempting()
			h.Secure(other)
			taken := h.asked("take")
			h.stopWork()
			h.ends(x, interrupted)
			replaced := h.asked("replace")
			h.ends(other, interrupted)
			h.owned(o, "")
			taken.answer(8, err)
			replaced.answer(0, err)
			if err != nil {
				h.owned(o, "write down: "+string(WhyStopped))
			} else {
				h.owned(o, "stored")
				if a := h.asked("replace"); a.sequence != 8 {
					t.Errorf("of %d", a.sequence)
				} else {
					a.answer(0, nil)
				}
			}
			h.unasked()
			if n := h.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 0 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

// A lease that is due is reckoned from when it is asked for: the tries before may have
// taken longer than the attempt.
func TestLeaseIsDueAfterItIsStored(t *testing.T) {
	t.Parallel()
	inHand(t, finalStatus, func(h *hand) {
		x, _ := h.attempting()
		h.Secure(x)
		a := h.asked("take")
		time.Sleep(time.Minute) //nolint:forbidigo // synctest
		a.answer(0, errLeaseLost)
		synctest.Wait()
		time.Sleep(leaseAgain) //nolint:forbidigo // synctest
		a = h.asked("take")
		if due := a.Header.Get(jetstream.ScheduleHeader); due != "@at "+time.Now().Add(15*time.Second).UTC().Format(time.RFC3339Nano) {
			t.Errorf("due %s", due)
		}
		a.answer(7, nil)
	})
}
