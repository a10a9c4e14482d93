package gate

import (
	"fmt"
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

const (
	// RefusedEvents is after how many events in a row that got a final answer, and
	// no 2xx among them, an endpoint refuses.
	RefusedEvents = 100
	// firstPause is the pause after the first attempt at an endpoint that refuses;
	// it is doubled after each that is refused, too.
	firstPause = 100 * time.Millisecond
)

// refusing slows down an endpoint that gives one event after the other a final
// answer. Each of them is a dead letter: at full speed, a path that is wrong
// since a deployment would turn all that waits into dead letters before anybody
// sees it. So one delivery at a time goes out, with growing pauses, until one is
// accepted.
//
// Only final answers count, and only a 2xx ends the count: what is tried again
// says nothing about what becomes of it.
type refusing struct {
	off     bool          // it never begins by itself
	longest time.Duration // pause

	events map[string]struct{} // webhook-ids that got a final answer since the latest 2xx; at most refusedEvents
	status int                 // of the latest final answer

	on      bool
	trial   bool      // it began with a resume
	since   time.Time // when it began
	epoch   uint64    // counts the beginnings: attempts from before do not count
	out     bool      // the one attempt is being made
	refused int       // attempts that got a final answer since it began
	waiting time.Time // when the pause began; zero: there is none
}

// configure takes over new settings; the pause follows them at once.
func (r *refusing) configure(c endpoint.Circuit) {
	r.off, r.longest = c.Failures == 0, max(c.MaxProbe, firstPause)
	if r.off && !r.trial {
		r.end()
	}
}

// begin lets one delivery at a time out from now on, the first at once. A trial
// is for an endpoint that refused before an operator resumed it.
func (r *refusing) begin(now time.Time, trial bool) {
	r.on, r.trial, r.since = true, trial, now
	r.out, r.refused, r.waiting = false, 0, time.Time{}
	r.events = nil
	r.epoch++
}

// end forgets everything. It reports whether the endpoint was refusing.
func (r *refusing) end() (was bool) {
	was = r.on
	r.on, r.trial, r.events = false, false, nil
	return was
}

// hurry lets the next delivery out at once, and the pauses begin anew.
func (r *refusing) hurry() { r.refused, r.waiting = 0, time.Time{} }

// admits reports whether an attempt may begin. If not, wait is when asking again
// can help by itself; zero: not before the one that is out has ended.
func (r *refusing) admits(now time.Time) (ok bool, wait time.Time) {
	switch {
	case !r.on:
		return true, time.Time{}
	case r.out:
		return false, time.Time{}
	case now.Before(r.next()):
		return false, r.next()
	}
	return true, time.Time{}
}

// next is when the next attempt may begin.
func (r *refusing) next() time.Time {
	if r.waiting.IsZero() {
		return time.Time{}
	}
	doubled := r.refused
	if r.trial {
		doubled = max(doubled-1, 0) // the first of them had no pause before it
	}
	return r.waiting.Add(endpoint.Circuit{Probe: firstPause, MaxProbe: r.longest}.Wait(doubled))
}

// take notes that an attempt begins, and returns which epoch it belongs to; 0:
// the endpoint does not refuse.
func (r *refusing) take() uint64 {
	if !r.on {
		return 0
	}
	r.out = true
	return r.epoch
}

// giveBack notes that an attempt has ended, or was not made. It reports whether
// that was the one that is let out at a time.
func (r *refusing) giveBack(p Permit) (present bool) {
	present = r.on && p.refusal == r.epoch
	if present {
		r.out = false
	}
	return present
}

// heard hears the result of an attempt that was made, which [refusing.giveBack]
// said is the present one or is not. final says that its event gets no other. It
// reports whether the endpoint refuses from now on, and whether it does no more.
func (r *refusing) heard(now time.Time, res outcome.Result, final bool, event string, present bool) (begins, ends bool) {
	switch {
	case res.Class == outcome.Class2xx:
		if r.on || r.events != nil {
			ends = r.end()
		}
		return false, ends
	case final:
		r.status = res.Status
		if present {
			r.refused++
		}
		begins = r.count(now, event)
	}
	if present {
		r.waiting = now
	}
	return begins, false
}

// count counts an event that got a final answer. It reports whether that was one
// too many.
func (r *refusing) count(now time.Time, event string) bool {
	if r.on || r.off {
		return false
	}
	if r.events == nil {
		r.events = make(map[string]struct{})
	}
	r.events[event] = struct{}{}
	if len(r.events) < RefusedEvents {
		return false
	}
	r.begin(now, false)
	r.waiting = now
	return true
}

func (r *refusing) text() string {
	const until = "one delivery at a time until one is accepted"
	if r.trial {
		text := "it refused events before it was resumed: " + until
		if r.refused > 0 {
			text += fmt.Sprintf("; %d refused again, the latest with %d", r.refused, r.status)
		}
		return text
	}
	return fmt.Sprintf("%d events in a row got a final answer, the latest %d: %s", RefusedEvents+r.refused, r.status, until)
}
