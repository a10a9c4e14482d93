package attempt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"fanjet/internal/failpoint"
	"fanjet/internal/wire"
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
	x := e.sender.begin(ctx, began.Add(e.Timeout), body)
	e.sign(x, began, env, header)

	failpoint.Hit(failpoint.Attempting)
	resp, err := e.sender.do(x) //nolint:bodyclose // finish closes it
	ended := time.Now()
	stood := e.Awake.Lost(ended).Since(before)
	result := outcome.Result{Began: began, Took: max(ended.Sub(began)-stood.Stood, 0)}
	if err != nil {
		result.Fail(x.reason(err))
		e.excuse(&result, stood)
		result.Resent = x.resent
		e.explain(x, &result, nil)
		e.sender.end(x)
		decided(result)
		return
	}
	result.Status = resp.StatusCode
	result.Class = outcome.StatusClass(resp.StatusCode)
	e.excuse(&result, stood)
	result.Resent = x.resent
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		asked := resp.Header.Get("Retry-After")
		var sane bool
		if result.RetryAfter, sane = outcome.ParseRetryAfter(asked, time.Now()); !sane {
			result.Absurd = asked
		}
	}
	e.explain(x, &result, resp)
	decided(result)

	if resp.Body == http.NoBody {
		e.sender.end(x)
		return
	}
	e.sender.finish(x, resp.Body)
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
func (e *Target) sign(x *exchange, now time.Time, env *wire.Envelope, header nats.Header) {
	x.describeEvent(header)
	x.set("Webhook-Id", env.EventID)
	x.set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	// Promise 5: what is signed and sent is the slice that was stored.
	x.set("Webhook-Signature", e.signer.Sign(env.EventID, now, x.body))
	x.set("Fanjet-Subject", fieldValue(env.Subject))
	x.set("Fanjet-Attempt", strconv.Itoa(env.Attempt))
}

// reason is why there was no response: an attempt that was ended has no other.
func (x *exchange) reason(err error) error {
	if cause := context.Cause(x.Context); cause != nil {
		return cause
	}
	var timeout net.Error
	if x.expired() && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()) {
		return outcome.ErrTimeout
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		if lack := lackOfDescriptors(); lack != nil {
			return fmt.Errorf("%w (%w)", lack, err)
		}
	}
	return err
}

// lackOfDescriptors is the error of the system when it gives the process no file
// descriptor. A resolver that gets none says that there is no such name.
func lackOfDescriptors() error {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	_ = f.Close()
	return nil
}
