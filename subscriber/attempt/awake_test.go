package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

func TestAwake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now() // with both clocks, as real ones have
		var a Awake
		if got := a.Lost(start); got != (lost{}) {
			t.Errorf("before the first beat: %+v", got)
		}
		now := start
		a.beat(now)
		for range 20 {
			now = now.Add(awakeEvery + standstill - 1) // busy, and no more
			a.beat(now)
		}
		if got := a.Lost(now); got != (lost{}) {
			t.Errorf("of a busy process: %+v", got)
		}
		// Whoever wakes up first learns the same as those behind the next beat.
		now = now.Add(awakeEvery + 3*time.Second)
		if got := a.Lost(now); got != (lost{Stood: 3 * time.Second}) {
			t.Errorf("on waking up: %+v", got)
		}
		a.beat(now)
		if got := a.Lost(now.Add(awakeEvery)); got != (lost{Stood: 3 * time.Second}) {
			t.Errorf("after the next beat: %+v", got)
		}
		a.beat(now.Add(awakeEvery + time.Second))
		if got := a.Lost(now.Add(2 * time.Second)).Since(lost{Stood: 3 * time.Second}); got.Stood < time.Second {
			t.Errorf("a second time: %+v", got)
		}
	})
}

// A suspended machine shows in the time of day only.
func TestAwakeAfterASuspension(t *testing.T) {
	t.Parallel()
	var a Awake
	wall := func(d time.Duration) time.Time { return time.Unix(1, 0).Add(d) } // without the other clock, both are one
	a.beat(wall(0))
	got := a.Lost(wall(awakeEvery + time.Hour))
	if got.all() != time.Hour {
		t.Errorf("%+v", got)
	}
}

func TestLostExcuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lost    lost
		timeout time.Duration
		want    bool
	}{
		{lost{}, 0, false},
		{lost{Stood: standstill}, 100 * time.Millisecond, true},
		{lost{Stood: standstill}, 15 * time.Second, false},
		{lost{Stood: time.Second - 1}, 4 * time.Second, false},
		{lost{Stood: time.Second}, 4 * time.Second, true},
		{lost{Stood: time.Second}, time.Minute, true},
		{lost{away: time.Hour}, 15 * time.Second, true},
		{lost{Stood: 400 * time.Millisecond, away: 600 * time.Millisecond}, 15 * time.Second, true},
	} {
		if got := tt.lost.excuses(tt.timeout); got != tt.want {
			t.Errorf("%+v of %s: %v", tt.lost, tt.timeout, got)
		}
	}
}

// What fails because the process stood still is nobody's failure; what was
// answered stands.
func TestStandstillIsNoFailure(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name  string
		in    outcome.Result
		stood time.Duration
		want  outcome.Class
	}{
		{"timeout", outcome.Result{Err: outcome.ErrTimeout}, 2 * time.Second, outcome.ClassInterrupted},
		{"timeout, awake", outcome.Result{Err: outcome.ErrTimeout}, 0, outcome.ClassTimeout},
		{"timeout, after a moment", outcome.Result{Err: outcome.ErrTimeout}, standstill, outcome.ClassTimeout},
		{"dial", outcome.Result{Err: context.DeadlineExceeded}, 2 * time.Second, outcome.ClassInterrupted},
		{"handshake", outcome.Result{Err: fmt.Errorf("the connection broke in the TLS handshake: %w", io.EOF)}, 2 * time.Second, outcome.ClassInterrupted},
		{"hung up", outcome.Result{Err: errors.New("the connection was closed before a response")}, 2 * time.Second, outcome.ClassInterrupted},
		{"refused", outcome.Result{Err: refused}, 2 * time.Second, outcome.ClassInterrupted},
		{"refused, awake", outcome.Result{Err: refused}, 0, outcome.ClassConnect},
		{"name", outcome.Result{Err: &net.DNSError{IsTimeout: true}}, 2 * time.Second, outcome.ClassInterrupted},
		{"certificate", outcome.Result{Err: &outcome.HandshakeError{Err: errors.New("expired")}}, 2 * time.Second, outcome.ClassTLS},
		{"blocked", outcome.Result{Err: egress.ErrBlocked}, 2 * time.Second, outcome.ClassBlocked},
		{"200", outcome.Result{Status: 200}, 2 * time.Second, outcome.Class2xx},
		{"503", outcome.Result{Status: 503}, 2 * time.Second, outcome.Class5xx},
		{"the request came too slowly", outcome.Result{Status: 408}, 2 * time.Second, outcome.ClassInterrupted},
		{"the same, awake", outcome.Result{Status: 408}, 0, outcome.Class4xx},
	} {
		r := tt.in
		if r.Err != nil {
			r.Fail(r.Err)
		} else {
			r.Class = outcome.StatusClass(r.Status)
		}
		e := &Target{Settings: endpoint.Settings{Timeout: 15 * time.Second}}
		e.excuse(&r, lost{Stood: tt.stood})
		if r.Class != tt.want || classOfResult(r) != tt.want {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

// classOfResult is the class that a result has by what else it says.
func classOfResult(r outcome.Result) outcome.Class {
	if r.Err != nil {
		return outcome.ClassOf(r.Err)
	}
	return outcome.StatusClass(r.Status)
}

// An attempt takes the word of the process about itself.
func TestAttemptOfAProcessThatStoodStill(t *testing.T) {
	t.Parallel()
	var a Awake
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a.at.Store(&wakefulness{beat: time.Now(), lost: lost{Stood: time.Hour}})
		<-r.Context().Done()
	})
	ep := testEndpoint(t, s.URL, loopback, func(e *endpoint.Settings) { e.Timeout = 300 * time.Millisecond })
	ep.Awake = &a
	if r := try(t.Context(), ep, nil, []byte("{}")); r.Class != outcome.ClassInterrupted || r.Status != 0 || !errors.Is(r.Err, outcome.ErrStoodStill) {
		t.Errorf("%+v", r)
	}
}
