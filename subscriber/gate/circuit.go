package gate

import (
	"time"

	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

// circuit stops sending to an endpoint that fails attempt after attempt.
//
//	closed ── failures in a row ──▶ open ── a probe gets through ──▶ half-open ── limit reaches the slots ──▶ closed
//	                                 ▲  └─ probe fails: wait doubles    │
//	                                 └─────── failures in a row ────────┘
//
// While it is open one attempt at a time goes out, the probe, and only its
// result counts: what began before the opening may still fail as it likes. But
// a success is good news, whichever attempt brings it.
//
// An answer that speaks of the event, see [SpeaksOfEvent], opens no circuit and
// closes none: it neither counts nor ends a count. As the answer to a probe it
// shows that the endpoint is there: the circuit is half-open, for one attempt at
// first, and it takes a success to close it.
type circuit struct {
	settings endpoint.Circuit
	full     int // slots of the endpoint: half-open ends when its limit is there

	state  circuitState
	since  time.Time // when the state began; zero: not known
	epoch  uint64    // counts the changes of state
	opened uint64    // epoch of the latest opening: older attempts began before it

	failures int       // closed: failed attempts in a row
	limit    int       // else: attempts at once, of those that began in this state
	running  int       // else: that many of them are running
	waiting  time.Time // open: when the wait for the next probe began
	missed   time.Time // open: when the latest probe failed; zero: none did
	answers  bool      // open: the latest failure was an answer
	judge    int       // half-open: status that spoke of an event, if nothing better is known
	misses   int       // failed probes, and falls out of half-open, since it was closed
	cause    cause     // of the latest opening
}

type circuitState uint8

const (
	circuitClosed circuitState = iota
	circuitOpen
	circuitHalfOpen
)

// cause is why a circuit opened.
type cause struct {
	failures int    // in a row; 0: it fell back out of half-open
	last     string // the last of them, by its status or class
	probes   int    // that have failed since
	probe    string // the last of those
}

const (
	// halfOpenFailures is how many failed attempts in a row open a half-open
	// circuit again, at most: an endpoint that fails now and then is not down.
	halfOpenFailures = 5
	// recovered is the limit at which an endpoint has shown that it is back.
	recovered = 8
)

// halfOpenLimit is how many attempts at once are admitted after a probe got
// through. Each success adds one, which doubles it per round trip.
const halfOpenLimit = 2

// configure takes over new settings. The waits follow them at once, because
// they are computed; a circuit that may not open any more closes.
func (c *circuit) configure(settings endpoint.Circuit, full int, now time.Time) {
	c.settings, c.full = settings, full
	if settings.Failures == 0 {
		c.failures = 0
		if c.state != circuitClosed {
			c.close(now)
		}
	}
}

// admits reports whether an attempt may begin. If not, wait is when asking again
// can help by itself. An attempt that began before the present state has no part
// in its limit: it may hang for a while yet. last: the attempt does not wait for
// the next probe.
func (c *circuit) admits(now time.Time, last bool) (ok bool, wait time.Time) {
	if c.state == circuitClosed {
		return true, time.Time{}
	}
	if c.running >= c.limit {
		return false, time.Time{}
	}
	if c.state == circuitOpen && !last {
		if next := c.nextProbe(); now.Before(next) {
			return false, next
		}
	}
	return true, time.Time{}
}

// begin notes that an attempt begins, and reports whether it is the probe.
func (c *circuit) begin() (probe bool) {
	if c.state == circuitClosed {
		return false
	}
	c.running++
	return c.state == circuitOpen
}

// end notes that an attempt has ended, or was not made. It reports whether the
// attempt began in the present state.
func (c *circuit) end(p Permit) (present bool) {
	if p.epoch != c.epoch {
		return false
	}
	if c.state != circuitClosed {
		c.running--
	}
	return true
}

// succeeded hears of a 2xx.
func (c *circuit) succeeded(now time.Time, p Permit) Change {
	c.end(p)
	switch c.state {
	case circuitClosed:
		c.failures = 0
		return 0
	case circuitOpen:
		c.become(circuitHalfOpen, now, halfOpenLimit)
		c.failures = 0
		if c.limit < c.full {
			return HalfOpen
		}
	case circuitHalfOpen:
		c.failures, c.judge = 0, 0
		c.limit++
		if c.limit >= recovered {
			c.misses = 0 // it is back, if not at its best: a fall is a new one
		}
	}
	if c.limit >= c.full {
		c.close(now)
		return Closed
	}
	return 0
}

// judged hears of an answer that speaks of the event.
func (c *circuit) judged(now time.Time, p Permit, r outcome.Result) Change {
	if present := c.end(p); !present {
		return 0
	}
	switch c.state {
	case circuitOpen:
		c.become(circuitHalfOpen, now, 1)
		c.failures, c.judge = 0, r.Status
		return Judged
	case circuitHalfOpen:
		c.failures = 0
		c.limit = max(c.limit, min(c.limit+1, c.full, recovered))
		if c.limit >= min(c.full, recovered) {
			c.misses = 0
		}
	}
	return 0
}

// failed hears of a failure.
func (c *circuit) failed(now time.Time, p Permit, r outcome.Result) Change {
	present := c.end(p)
	switch c.state {
	case circuitClosed:
		if c.settings.Failures == 0 || p.epoch < c.opened {
			return 0
		}
		c.failures++
		if c.failures < c.settings.Failures {
			return 0
		}
		c.open(now, cause{failures: c.failures, last: r.Short()}, r)
		return Opened
	case circuitHalfOpen:
		if !present {
			return 0
		}
		c.failures++
		if c.failures < min(c.settings.Failures, halfOpenFailures) {
			return 0
		}
		c.misses++
		c.open(now, cause{last: r.Short()}, r)
		return Opened
	default:
		if !present {
			return 0
		}
		c.missed, c.answers = now, r.Status != 0
		if !p.Last { // there may be many of those, and none may put off the next probe
			c.misses++
			c.waiting = now
			c.cause.probes++
			c.cause.probe = r.Short()
		}
		return ProbeFailed
	}
}

// undecided hears of an attempt that says nothing about the endpoint. If it was
// the probe, another follows after the same wait.
func (c *circuit) undecided(now time.Time, p Permit) {
	if c.end(p) && !p.Last {
		c.waiting = now
	}
}

func (c *circuit) open(now time.Time, why cause, last outcome.Result) {
	c.become(circuitOpen, now, 1)
	c.opened = c.epoch
	c.waiting, c.missed, c.answers = now, time.Time{}, last.Status != 0
	c.cause = why
}

func (c *circuit) close(now time.Time) {
	c.become(circuitClosed, now, 0)
	c.failures, c.misses = 0, 0
	c.cause = cause{}
}

func (c *circuit) become(state circuitState, now time.Time, limit int) {
	c.state, c.since = state, now
	c.limit, c.running = limit, 0
	c.judge = 0
	c.epoch++
}

// probing reports whether a probe is out.
func (c *circuit) probing() bool { return c.state == circuitOpen && c.running > 0 }

// nextProbe is when an open circuit lets the next probe out.
func (c *circuit) nextProbe() time.Time { return c.waiting.Add(c.settings.Wait(c.misses)) }

// mostPassedOver bounds how far ahead a probe is chosen, in deliveries.
const mostPassedOver = 63

// passedOver is how many deliveries that were not tried yet are passed over for
// the next probe, after so many that were answered, and refused. It may be those
// events that are refused, one like the other, and not all: twice as many are
// passed over each time, so that it takes few probes to get beyond them.
func passedOver(refused int) int {
	if refused > 6 {
		return mostPassedOver
	}
	return min(1<<refused-1, mostPassedOver)
}
