package httpsend

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Why a request is sent again within one attempt, for the metric and the log.
const (
	// reasonClosed: a connection that was kept alive turned out to be dead before any
	// byte of the response came. The request may have been processed: only over
	// HTTP/1.1, which knows no better, and once.
	reasonClosed = "connection_closed"
	// reasonRefused: the receiver refused the stream before any processing
	// (REFUSED_STREAM; RFC 9113, 8.7).
	reasonRefused = "refused_stream"
	// reasonGoAway: the receiver closes the connection, and the stream is above the
	// last that it may have looked at (GOAWAY; RFC 9113, 6.8).
	reasonGoAway = "goaway"
)

const (
	// maxResends bounds how often a request that was not taken is sent again. What
	// takes longer is the schedule's.
	maxResends = 5
	// resendPause is how long the first one waits at most, each other one twice as
	// long as the one before.
	resendPause = 10 * time.Millisecond
)

var (
	errRefused = errors.New("the receiver refused the stream (HTTP/2), again and again")
	errGoAway  = errors.New("the receiver closes its connections (HTTP/2), again and again, and does not take the request")
	// errTakenBack: who has begun to answer, if only with 1xx, has looked at the
	// request, whatever it says afterwards.
	errTakenBack = errors.New("the receiver began to answer, and closes the connection as if it had not seen the request (HTTP/2)")
)

// notTaken says that a receiver has not processed a request, and will not.
type notTaken struct {
	reason string // empty: it was not sent
	err    error
}

func (e *notTaken) Error() string { return e.err.Error() }
func (e *notTaken) Unwrap() error { return e.err }

// Timeout is asked by [url.Error], which does not unwrap.
func (e *notTaken) Timeout() bool { return isTimeout(e.err) }

// again is the client's retry policy, and the only place where it is decided that
// a request is sent again. A request that the receiver may have processed is not, but
// over HTTP/1.1 when a connection that was kept alive turned out to be dead.
//
// Promise 2: one POST per attempt.
func again(ctx context.Context, _ *http.Response, err error) (bool, error) {
	x, ok := ctx.(*Exchange)
	if !ok || err == nil || x.expired() || x.Err() != nil {
		return false, nil
	}
	if n := (*notTaken)(nil); errors.As(err, &n) {
		x.why = n.reason
		x.untaken++
		return x.untaken <= maxResends, nil
	}
	x.why = reasonClosed
	return x.reused && !x.answered && !x.overHTTP2, nil
}

// rest waits before a request that was not taken is tried again.
func (t *transport) rest(x *Exchange) error {
	if x.untaken == 0 || x.untaken == 1 && x.why == "" {
		return nil
	}
	pause := resendPause << (x.untaken - 1)
	pause = pause/2 + time.Duration(float64(pause/2)*t.random())
	timer := time.NewTimer(min(pause, time.Until(x.deadline)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.Done():
		return context.Cause(x.Context)
	}
}
