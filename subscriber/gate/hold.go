package gate

import (
	"time"

	"fanjet/subscriber/outcome"
)

// hold is the wait that an endpoint asked for with Retry-After. It covers the
// whole endpoint, not just the delivery that was answered so.
type hold struct {
	since, until time.Time
	status       int
}

// ask hears a result that may ask for a wait. The later end wins; a success
// does not shorten it.
func (h *hold) ask(now time.Time, r outcome.Result) {
	if r.RetryAfter <= 0 {
		return
	}
	until := now.Add(min(r.RetryAfter, outcome.MaxRetryAfter))
	if !until.After(h.until) {
		return
	}
	if !h.running(now) {
		h.since = now
	}
	h.until, h.status = until, r.Status
}

func (h *hold) running(now time.Time) bool { return now.Before(h.until) }

// runningUntil is when it ends; zero: it is not running.
func (h *hold) runningUntil(now time.Time) time.Time {
	if h.running(now) {
		return h.until
	}
	return time.Time{}
}
