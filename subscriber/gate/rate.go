package gate

import (
	"time"

	"fanjet/subscriber/endpoint"

	"golang.org/x/time/rate"
)

// bucket holds the tokens of an endpoint's rate limit. The zero value limits
// nothing.
type bucket struct {
	settings endpoint.Rate
	limiter  *rate.Limiter // nil: no limit
	now      time.Time     // the latest time it was told
	taken    time.Time     // when the latest token was taken
	refused  time.Time     // when it last refused one
	since    time.Time     // when the stretch of refusing began that refused belongs to
}

// configure takes over a new limit; tokens in the bucket stay.
func (b *bucket) configure(r endpoint.Rate, now time.Time) {
	b.settings = r
	switch {
	case r.Count <= 0 || r.Per <= 0:
		b.limiter = nil
	case b.limiter == nil:
		b.limiter = rate.NewLimiter(r.Limit(), r.Burst())
	default:
		now = b.clock(now)
		b.limiter.SetLimitAt(now, r.Limit())
		b.limiter.SetBurstAt(now, r.Burst())
	}
}

// take takes a token. token says whether there was one to take, which there is
// not without a limit. When it refuses, next is when the next token comes.
func (b *bucket) take(now time.Time) (token bool, next time.Time, ok bool) {
	if b.limiter == nil {
		return false, time.Time{}, true
	}
	now = b.clock(now)
	if b.limiter.AllowN(now, 1) {
		b.taken = now
		return true, time.Time{}, true
	}
	if now.Sub(b.refused) > b.settings.Lull() {
		b.since = now
	}
	b.refused = now
	return false, b.next(now), false
}

// giveBack returns a token that was not used.
func (b *bucket) giveBack(now time.Time) {
	if b.limiter != nil {
		// Tokens beyond the burst are lost when the bucket is looked at next.
		b.limiter.AllowN(b.clock(now), -1)
	}
}

// usedUp reports whether no token is left.
func (b *bucket) usedUp(now time.Time) bool {
	return b.limiter != nil && b.missing(b.clock(now)) > 0
}

// next is when the next token comes.
func (b *bucket) next(now time.Time) time.Time {
	// The limiter rounds down to nanoseconds; one more makes sure.
	return now.Add(b.missing(now) + 1)
}

// missing is how long it takes until there is a token.
func (b *bucket) missing(now time.Time) time.Duration {
	return time.Duration((1 - b.limiter.TokensAt(now)) / float64(b.settings.Limit()) * float64(time.Second))
}

// usedUpSince is when the state that usedUp reports began.
func (b *bucket) usedUpSince(now time.Time) time.Time {
	if b.clock(now).Sub(b.refused) > b.settings.Lull() {
		return b.taken // nobody has missed one yet
	}
	return b.since
}

// clock keeps the time from going back: callers read it before they hold the
// lock, and the limiter would grant the tokens of that stretch again.
func (b *bucket) clock(now time.Time) time.Time {
	b.now = later(b.now, now)
	return b.now
}
