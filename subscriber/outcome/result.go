// Package outcome is what became of an attempt: its [Result], the [Class] of that, what the
// endpoint asked for, and the one line that says why it failed.
package outcome

import (
	"errors"
	"time"
)

// Result is what became of one attempt.
type Result struct {
	Began      time.Time
	Took       time.Duration // until the response headers, or the failure
	Status     int           // 0: there was no response
	RetryAfter time.Duration // what the endpoint asked for, 0: nothing
	Absurd     string        // a Retry-After that counts as none, as the endpoint sent it
	Err        error         // why there was no response
	Class      Class
	Resent     []string // why the request was sent again within the attempt, each time
	Told       string   // what Failure says; empty: it is made of the rest
}

// Causes that end an attempt early.
var (
	ErrTimeout     = errors.New("no response in time")
	ErrInterrupted = errors.New("interrupted by a shutdown")
	ErrStoodStill  = errors.New("this process stood still meanwhile: stopped, suspended, or without a processor")
	// ErrRetired ends an attempt that has not sent its request when the egress
	// policy changes: its connection may be one that is forbidden now.
	ErrRetired = errors.New("the egress policy has changed: another attempt is made under the new one")
)

// Fail notes why there was no response.
func (r *Result) Fail(err error) { r.Err, r.Class = err, ClassOf(err) }
