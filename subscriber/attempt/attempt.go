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
