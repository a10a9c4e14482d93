package gate

import (
	"fmt"
	"time"

	"fanjet/subscriber/endpoint"
)

// Status says how the endpoint does as far as the gate knows: the worst that
// holds, for operators. since is when that began, next the next probe or the
// end of a wait; both can be zero: not known, or none.
func (g *Gate) Status(now time.Time) (s endpoint.State, reason string, since, next time.Time) {
	if g.paused != nil {
		return endpoint.StatePaused, g.paused.Text(), g.paused.Since, time.Time{}
	}
	return g.trouble(now)
}

// trouble is status without a pause.
func (g *Gate) trouble(now time.Time) (s endpoint.State, reason string, since, next time.Time) {
	c := &g.circuit
	hold := g.hold.runningUntil(now)
	switch {
	case c.state == circuitOpen:
		_, next = g.Probing(now)
		return endpoint.StateOpen, c.text(), c.since, next
	case g.refusal.on:
		_, next = g.Probing(now)
		return endpoint.StateRefusing, g.refusal.text(), g.refusal.since, next
	case c.state == circuitHalfOpen:
		return endpoint.StateHalfOpen, c.text(), c.since, hold
	case !hold.IsZero():
		return endpoint.StateBackingOff, g.hold.text(), g.hold.since, hold
	case g.rate.usedUp(now):
		return endpoint.StateLimited, g.rate.text(), g.rate.usedUpSince(now), g.rate.next(now)
	default:
		return endpoint.StateHealthy, "", later(c.since, g.hold.until), time.Time{}
	}
}

func (h *hold) text() string {
	return fmt.Sprintf("asked with Retry-After, status %d: nothing is sent until %s", h.status, h.until.UTC().Format(time.RFC3339))
}

func (c *circuit) text() string {
	if c.state == circuitHalfOpen && c.judge != 0 {
		return fmt.Sprintf("a probe was refused with %d, which speaks of its event alone, up to %s at once", c.judge, plural(c.limit, "attempt"))
	}
	if c.state == circuitHalfOpen {
		return fmt.Sprintf("a probe got through, up to %d attempts at once", c.limit)
	}
	why := c.cause
	text := "failed again after a probe had got through: " + why.last
	if why.failures > 0 {
		text = plural(why.failures, "failed attempt") + " in a row: " + why.last
	}
	if why.probes > 0 {
		text += ", then " + plural(why.probes, "failed probe") + ": " + why.probe
	}
	return text
}

func (b *bucket) text() string {
	per := b.settings.Per.String()
	switch b.settings.Per {
	case time.Second:
		per = "s"
	case time.Minute:
		per = "m"
	}
	return fmt.Sprintf("rate_limit of %d/%s is used up", b.settings.Count, per)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
