// Package attempt makes one attempt to deliver an event: the request with its headers and
// signature, and what became of it, in one line. It is where an event becomes a request
// and an answer a result; [fanjet/subscriber/httpsend] carries both.
//
// Traps that rule its code:
//
//   - The bytes that are signed are those that are sent, and those that were stored: nothing
//     here writes to the body or copies it.
//   - A header of the producer's can hold anything that NATS takes. Only what says what the
//     body is, and whose trace it belongs to, goes along, and only if it is valid
//     (content.go, trace.go).
//   - A timer that fires because the process was stopped says nothing about the receiver.
//     [Awake] notes how long the process stood still. CLOCK_MONOTONIC stands on a suspended
//     machine, so the time of day is compared with it.
//   - Errors repeat what a receiver sent, and the names in its certificate; answers say why
//     it refused, and some repeat the request. What is told has nothing confidential in it
//     (hide.go, hide_event.go), and goes through [outcome.Plain].
package attempt

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/wire"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats.go"
)

// Attempt POSTs the body to the endpoint. decided is called as soon as the
// outcome is known: for a response when its headers arrived, and of a failure the
// beginning of its body, or a moment passed. What is left of the response is read
// then, so that the connection can be used again; attempt does not wait for one that
// does not come to its end.
func (e *Target) Attempt(ctx context.Context, env *wire.Envelope, header nats.Header, body []byte, decided func(outcome.Result)) {
	began := time.Now()
	before := e.Awake.Lost(began)
	x := e.sender.Begin(ctx, began, body)
	e.sign(x, began, env, header, body)

	failpoint.Hit(failpoint.Attempting)
	resp, err := e.sender.Do(x) //nolint:bodyclose // Finish closes it
	ended := time.Now()
	stood := e.Awake.Lost(ended).Since(before)
	result := outcome.Result{Began: began, Took: max(ended.Sub(began)-stood.Stood, 0)}
	if err != nil {
		result.Fail(err)
		e.excuse(&result, stood)
		result.Resent = x.Resent()
		e.explain(x, &result, nil, body)
		e.sender.Finish(x, nil)
		decided(result)
		return
	}
	result.Status = resp.StatusCode
	result.Class = outcome.StatusClass(resp.StatusCode)
	e.excuse(&result, stood)
	result.Resent = x.Resent()
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		asked := resp.Header.Get("Retry-After")
		var sane bool
		if result.RetryAfter, sane = outcome.ParseRetryAfter(asked, time.Now()); !sane {
			result.Absurd = asked
		}
	}
	e.explain(x, &result, resp, body)
	decided(result)
	e.sender.Finish(x, resp)
}

// excuse makes an interruption of a failure for which the process may be to blame,
// because it stood still. What the endpoint answered stands, unless it says that
// it had to wait for us.
func (e *Target) excuse(r *outcome.Result, stood lost) {
	switch {
	case !stood.excuses(e.Timeout):
	case r.Status == http.StatusRequestTimeout, r.Class == outcome.ClassTimeout, r.Class == outcome.ClassConnect, r.Class == outcome.ClassDNS:
		*r = outcome.Result{Began: r.Began, Took: r.Took}
		r.Fail(outcome.ErrStoodStill)
	}
}

// sign sets the headers of one attempt.
func (e *Target) sign(x *httpsend.Exchange, now time.Time, env *wire.Envelope, header nats.Header, body []byte) {
	describeEvent(x, header, body)
	x.Set("Webhook-Id", env.EventID)
	x.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	// Promise 5: what is signed and sent is the slice that was stored.
	x.Set("Webhook-Signature", e.signer.Sign(env.EventID, now, body))
	x.Set("Fanjet-Subject", httpsend.FieldValue(env.Subject))
	x.Set("Fanjet-Attempt", strconv.Itoa(env.Attempt))
}
