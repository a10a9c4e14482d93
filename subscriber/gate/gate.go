// Package gate decides whether an endpoint may be sent to now: pauses, the circuit, what
// an endpoint refuses, Retry-After, slots and the rate limit, joined in one [Gate].
//
// It is pure: no lock, no goroutine, no timer, no clock of its own.
package gate

import (
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// Gate decides whether an endpoint may be sent to now: it joins the pause, the
// circuit, what the endpoint refuses, Retry-After, the slots and the rate limit.
//
// It is pure: it has no lock, no goroutine and no timer, and is told the time.
// The caller holds the endpoint's mutex for every call. Each permit that admit
// gives comes back once, through done or release.
type Gate struct {
	slots   int // attempts at once
	circuit circuit
	refusal refusing
	rate    bucket
	hold    hold
	gone    goneCount
	paused  *endpoint.Pause
	resumed uint64 // epoch of the circuit at the latest resume
}

// Permit is the leave to make one attempt.
type Permit struct {
	epoch   uint64 // of the circuit when the attempt was admitted
	refusal uint64 // of the refusal; 0: the endpoint did not refuse
	probe   bool   // the circuit is open: this attempt shows whether the endpoint is back
	Last    bool   // the same, but before its time: the delivery would expire unattempted
	token   bool   // one of the rate limit was taken for it
}

// Change is a set of what the result of an attempt has changed, for logs and
// metrics.
type Change uint8

// The changes.
const (
	Opened      Change = 1 << iota // the circuit opened, or opened again out of half-open
	ProbeFailed                    // it stays open, and the next probe is further off
	HalfOpen                       // a probe got through: more and more attempts are admitted
	Judged                         // a probe was refused for its event's sake: half-open, but one attempt at first
	Closed                         // the endpoint is back
	SaidGone                       // it said 410 again and again: pause it
	Refuses                        // it gave one event after the other a final answer: one attempt at a time
	Accepts                        // it did, and has accepted one
)

// Has reports whether any of those is in the set.
func (c Change) Has(any Change) bool { return c&any != 0 }

// New returns the gate of an endpoint that is healthy.
func New(ep *endpoint.Settings) *Gate {
	g := new(Gate)
	g.Configure(ep, time.Time{})
	return g
}

// Configure takes over new settings. The circuit, the holds and the pause stay;
// the new limits count at once.
func (g *Gate) Configure(ep *endpoint.Settings, now time.Time) {
	g.slots = ep.MaxInFlight
	settings := ep.Circuit
	if ep.Ordered {
		g.slots = 1
		// The head of an ordered endpoint's line is retried in place after the
		// waits of its own schedule. That is probing enough: a circuit would only
		// be a second, competing schedule.
		settings.Failures = 0
	}
	g.circuit.configure(settings, g.slots, now)
	g.refusal.configure(ep.Circuit)
	g.rate.configure(ep.RateLimit, now)
}

// SetPause pauses the endpoint, or resumes it with nil. After a resume it
// starts afresh, with a closed circuit and without a hold, and attempts from
// before change nothing: the operator's word counts at once. One that refused
// what it got before gets one delivery first: each of them may be lost to it.
func (g *Gate) SetPause(p *endpoint.Pause, now time.Time) {
	if p != nil {
		pause := *p
		g.paused = &pause
		return
	}
	if g.paused == nil {
		return
	}
	refused := g.refusal.on || g.paused.Gone()
	g.paused = nil
	g.startAfresh()
	g.refusal.end()
	if refused {
		g.refusal.begin(now, true)
	}
}

// startAfresh forgets what attempts have shown so far, and what those will show
// that are running.
func (g *Gate) startAfresh() {
	g.circuit.close(time.Time{})
	g.resumed = g.circuit.epoch
	g.hold = hold{}
	g.gone = goneCount{}
}

// Lift ends the waits that the endpoint itself is the reason for, by an
// operator's word. One that refuses still gets one delivery at a time, the next
// at once. It returns the state that was ended; healthy: there was nothing to
// lift.
func (g *Gate) Lift(now time.Time) (was endpoint.State, reason string, until time.Time) {
	circuit, hold := g.circuit.state != circuitClosed, g.hold.running(now)
	if !circuit && !hold && !g.refusal.on {
		return endpoint.StateHealthy, "", time.Time{}
	}
	was, reason, _, until = g.trouble(now)
	g.startAfresh()
	g.refusal.hurry()
	return was, reason, until
}

// Admit asks to begin an attempt beside the inFlight that are running. When it
// says no, retry is when asking again can help by itself; zero: not before an
// attempt ends or somebody acts.
func (g *Gate) Admit(now time.Time, inFlight int) (p Permit, ok bool, retry time.Time) {
	return g.ask(now, inFlight, false)
}

// AdmitLast is admit for a delivery that was never attempted and is given up
// next. It need not wait for the next probe.
func (g *Gate) AdmitLast(now time.Time, inFlight int) (p Permit, ok bool, retry time.Time) {
	return g.ask(now, inFlight, true)
}

func (g *Gate) ask(now time.Time, inFlight int, last bool) (p Permit, ok bool, retry time.Time) {
	if g.paused != nil {
		return Permit{}, false, time.Time{}
	}
	if inFlight >= g.slots {
		return Permit{}, false, time.Time{}
	}
	admitted, wait := g.circuit.admits(now, last)
	accepts, pause := g.refusal.admits(now)
	switch {
	case !admitted && wait.IsZero(), !accepts && pause.IsZero():
		return Permit{}, false, time.Time{}
	case !admitted, !accepts, g.hold.running(now):
		return Permit{}, false, later(later(wait, pause), g.hold.until)
	}
	// The token comes last: it is taken only when all else admits.
	token, next, ok := g.rate.take(now)
	if !ok {
		return Permit{}, false, next
	}
	return Permit{epoch: g.circuit.epoch, refusal: g.refusal.take(), probe: g.circuit.begin(), Last: last, token: token}, true, time.Time{}
}

// Done hears the result of an admitted attempt to deliver an event. final says
// that its status is one of dead_letter_on: the event gets no other attempt.
func (g *Gate) Done(now time.Time, p Permit, r outcome.Result, final bool, event string) Change {
	if r.Class == outcome.ClassLocal || r.Class == outcome.ClassInterrupted {
		g.Release(p, now) // the endpoint has no part in it
		return 0
	}
	single := g.refusal.giveBack(p)
	if p.epoch < g.resumed {
		return 0 // from before the operator's word
	}
	g.hold.ask(now, r)
	var changes Change
	switch {
	case r.Class == outcome.Class2xx:
		changes = g.circuit.succeeded(now, p)
	case r.Status != 0 && outcome.SpeaksOfEvent(r.Status):
		changes = g.circuit.judged(now, p, r)
	case r.Class == outcome.ClassBlocked, final:
		g.circuit.undecided(now, p)
	default:
		changes = g.circuit.failed(now, p, r)
	}
	begins, ends := g.refusal.heard(now, r, final, event, single)
	if begins {
		changes |= Refuses
	}
	if ends {
		changes |= Accepts
	}
	if g.gone.count(now, r) {
		changes |= SaidGone
	}
	return changes
}

// Release takes back an admitted attempt that was not made. Its token, and its
// place if it was the probe, are free again.
func (g *Gate) Release(p Permit, now time.Time) {
	if p.token {
		g.rate.giveBack(now)
	}
	g.circuit.end(p)
	g.refusal.giveBack(p)
}

// Calm hears that nothing waits for the endpoint. A circuit that has been
// half-open for so long closes: there is too little to send to prove more.
func (g *Gate) Calm(now time.Time, least time.Duration) {
	if g.circuit.state == circuitHalfOpen && now.Sub(g.circuit.since) >= least {
		g.circuit.close(now)
	}
}

// Barred reports whether something other than its slots limits the endpoint, so
// that the shared fast lane must not serve it.
func (g *Gate) Barred(now time.Time) bool {
	return g.paused != nil || g.circuit.state != circuitClosed || g.refusal.on || g.hold.running(now) || g.rate.usedUp(now)
}

// Probing reports whether only single attempts may go out, because the circuit
// is open or the endpoint refuses, and when the next one may; zero: not before
// the one that is out has ended, or while a pause lasts.
func (g *Gate) Probing(now time.Time) (only bool, next time.Time) {
	open := g.circuit.state == circuitOpen
	if !open && !g.refusal.on {
		return false, time.Time{}
	}
	if g.paused != nil || g.circuit.probing() || g.refusal.out {
		return true, time.Time{}
	}
	if open {
		next = g.circuit.nextProbe()
	}
	if g.refusal.on {
		next = later(next, g.refusal.next())
	}
	return true, later(next, g.hold.runningUntil(now))
}

// Choosy reports whether it matters which delivery is attempted next: while the
// endpoint is in doubt, one that was not tried yet tells more than one that was
// refused before. passOver is how many of those are passed over first.
func (g *Gate) Choosy() (is bool, passOver int) {
	if g.circuit.state == circuitOpen && g.circuit.answers {
		passOver = passedOver(g.circuit.misses)
	}
	if g.refusal.on {
		passOver = max(passOver, passedOver(g.refusal.refused))
	}
	return g.circuit.state != circuitClosed || g.refusal.on, passOver
}

// DownSince is when a probe failed, if that one is the latest word about the
// endpoint: what was too old by then will not be delivered in time. Zero: it is
// not known to be down, because the next probe is due, for example.
func (g *Gate) DownSince(now time.Time) time.Time {
	c := &g.circuit
	if c.state != circuitOpen || c.probing() || !now.Before(c.nextProbe()) {
		return time.Time{}
	}
	return c.missed
}

// AttemptsLast reports whether a delivery that was never attempted is attempted
// once before it is given up for its age: the endpoint fails, but it answers, and
// has not asked to be left alone.
func (g *Gate) AttemptsLast(now time.Time) bool {
	return g.circuit.state == circuitOpen && g.circuit.answers && !g.hold.running(now)
}

// IsOpen reports whether the circuit is open.
func (g *Gate) IsOpen() bool { return g.circuit.state == circuitOpen }

// IsPaused reports whether the endpoint is paused.
func (g *Gate) IsPaused() bool { return g.paused != nil }

// HoldUntil is until when the endpoint asked to be left alone; zero: it has not.
func (g *Gate) HoldUntil(now time.Time) time.Time { return g.hold.runningUntil(now) }

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
