// Package endpoint is what others know of an endpoint without delivering to it: its
// settings, what is allowed in them, and how one does.
//
// It has no machinery. Configuration, console and commands import it, and not the code
// that delivers.
package endpoint

import (
	"net/http"
	"net/url"
	"time"

	"fanjet/internal/secret"
	"fanjet/subscriber/egress"

	"golang.org/x/time/rate"
)

// Settings is one receiver of webhooks and how it wants them.
type Settings struct {
	Name         string         // [a-z0-9-]{1,63}
	URL          *url.URL       // http or https, no user, no fragment
	Secrets      []secret.Value // whsec_… or whsk_…; all sign, the first is the newest
	Headers      http.Header    // added to every request
	Timeout      time.Duration  // of a whole attempt
	MaxInFlight  int            // attempts at once, a gateway replica
	Retry        Retry
	DeadLetterOn []int // statuses that are final at once

	RateLimit Rate    // attempts, a gateway replica; the zero value: no limit
	Circuit   Circuit // when to stop sending to an endpoint that fails
	// Ordered delivers the endpoint's events in the order of their source, one
	// at a time, each retried in place.
	Ordered bool
	// Block lets the line of an ordered endpoint stand when its first delivery
	// has used up its attempts, until an operator acts; else that one is
	// dead-lettered and the line goes on.
	Block bool

	// Policy is an egress policy of its own, for an endpoint that Fanjet itself
	// makes; nil: that of the configuration.
	Policy *egress.Policy
}

// Rate limits how many attempts are made in a time. Bursts of up to a second's
// worth are let through.
type Rate struct {
	Count int
	Per   time.Duration // a second or a minute
}

// Circuit says when an endpoint counts as down, and how it is tried then.
type Circuit struct {
	Failures int           // failures in a row that open the circuit; 0: it never opens
	Probe    time.Duration // from then to the first probe; doubled after each that fails
	MaxProbe time.Duration // longest wait between probes
}

// Retry says when a failed delivery is tried again.
type Retry struct {
	// Schedule holds the waits after the first, second, … failed attempt. A
	// delivery gets 1 + len(Schedule) attempts.
	Schedule []time.Duration
	// Jitter spreads each wait evenly over ± this share of it, 0 to 1.
	Jitter float64
	// MaxAge, counted from acceptance (anew from a replay), is when a failing
	// delivery is given up.
	MaxAge time.Duration
}

// Default holds the default of every setting that has one.
func Default() Settings {
	return Settings{
		Timeout:     15 * time.Second,
		MaxInFlight: 32,
		Retry: Retry{
			Schedule: []time.Duration{
				5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
				time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
			},
			Jitter: 0.2,
			MaxAge: 72 * time.Hour,
		},
		DeadLetterOn: []int{http.StatusGone},
		Circuit:      Circuit{Failures: 10, Probe: 5 * time.Second, MaxProbe: 5 * time.Minute},
	}
}

// Limit is the rate in tokens a second.
func (r Rate) Limit() rate.Limit { return rate.Limit(float64(r.Count) / r.Per.Seconds()) }

// Burst is a second's worth of tokens, and at least one.
func (r Rate) Burst() int { return max(1, int(r.Limit())) }

// Lull is how long a bucket that refuses nothing is still in the same stretch
// of refusing.
func (r Rate) Lull() time.Duration { return time.Second + r.Per/time.Duration(r.Count) }

// Wait is how long after the failed attempt of that number, from 1, the next
// one comes.
func (r Retry) Wait(attempt int, random float64) time.Duration {
	wait := r.Schedule[attempt-1]
	return wait + time.Duration(float64(wait)*r.Jitter*(2*random-1))
}

// Wait is the wait for the next probe after so many misses.
func (c Circuit) Wait(misses int) time.Duration {
	longest := max(c.Probe, c.MaxProbe)
	wait := c.Probe
	for range misses {
		if wait <= 0 || wait > longest/2 {
			return longest
		}
		wait *= 2
	}
	return wait
}
