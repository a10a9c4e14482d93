package subscriber

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ep := &endpoint.Settings{
		Retry:        endpoint.Retry{Schedule: []time.Duration{10 * time.Second, time.Minute}, Jitter: 0.2, MaxAge: time.Hour},
		DeadLetterOn: []int{http.StatusGone, http.StatusTeapot},
	}
	status := func(code int) outcome.Result { return outcome.Result{Status: code, Class: outcome.StatusClass(code)} }
	failure := func(class outcome.Class) outcome.Result { return outcome.Result{Err: errors.New("x"), Class: class} }
	again := func(wait time.Duration) decision { return decision{verb: reschedule, at: now.Add(wait)} }
	dead := func(reason dlq.Reason) decision { return decision{verb: deadLetter, reason: reason} }

	for _, tt := range []struct {
		name    string
		result  outcome.Result
		attempt int
		age     time.Duration
		random  float64
		want    decision
	}{
		{"delivered", status(200), 1, 0, 0.5, decision{verb: ack}},
		{"delivered at the last moment", status(204), 9, 100 * time.Hour, 0.5, decision{verb: ack}},
		{"interrupted", failure(outcome.ClassInterrupted), 3, 100 * time.Hour, 0.5, decision{verb: giveBack}},
		{"blocked", failure(outcome.ClassBlocked), 1, 0, 0.5, dead(dlq.ReasonBlockedDestination)},
		{"final status", status(410), 1, 0, 0.5, dead(dlq.ReasonRejected)},
		{"final status that was configured", status(418), 1, 0, 0.5, dead(dlq.ReasonRejected)},
		{"redirect", status(302), 1, 0, 0.5, again(10 * time.Second)},
		{"client error", status(400), 1, 0, 0.5, again(10 * time.Second)},
		{"too many requests", status(429), 1, 0, 0.5, again(10 * time.Second)},
		{"server error", status(500), 2, 0, 0.5, again(time.Minute)},
		{"status of no RFC", status(999), 1, 0, 0.5, again(10 * time.Second)},
		{"timeout", failure(outcome.ClassTimeout), 1, 0, 0.5, again(10 * time.Second)},
		{"least jitter", status(500), 1, 0, 0, again(8 * time.Second)},
		{"most jitter", status(500), 1, 0, 1, again(12 * time.Second)},
		{"asked for more", outcome.Result{Status: 503, Class: outcome.Class5xx, RetryAfter: 5 * time.Minute}, 1, 0, 0.5, again(5 * time.Minute)},
		{"asked for less", outcome.Result{Status: 503, Class: outcome.Class5xx, RetryAfter: time.Second}, 1, 0, 0.5, again(10 * time.Second)},
		{"last attempt", status(500), 3, 0, 0.5, dead(dlq.ReasonExhausted)},
		{"schedule was shortened meanwhile", status(500), 7, 0, 0.5, dead(dlq.ReasonExhausted)},
		{"too old", status(500), 1, time.Hour, 0.5, dead(dlq.ReasonExpired)},
		{"would be too old", status(500), 2, time.Hour - 30*time.Second, 0.5, dead(dlq.ReasonExpired)},
		{"just young enough", status(500), 2, time.Hour - time.Minute, 0.5, again(time.Minute)},
		{"asked for more than is left", outcome.Result{Status: 503, Class: outcome.Class5xx, RetryAfter: time.Hour}, 1, time.Minute, 0.5, dead(dlq.ReasonExpired)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := &wire.Envelope{Attempt: tt.attempt, Accepted: now.Add(-tt.age)}
			if got := decide(tt.result, env, ep, now, tt.random); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// What this machine cannot do is no failure of the endpoint: the same attempt
// comes again.
func TestOwnLimitsAreNoAttempt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ep := &endpoint.Settings{Retry: endpoint.Retry{MaxAge: time.Hour}} // one attempt
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		err := &url.Error{Op: "Post", Err: &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", errno)}}
		env := &wire.Envelope{Attempt: 1, Accepted: now.Add(-100 * time.Hour)}
		got := decide(outcome.Result{Err: err, Class: outcome.ClassOf(err)}, env, ep, now, 0.5)
		if got.verb == deadLetter || got.verb == reschedule || !got.at.After(now) {
			t.Errorf("%v: %+v", err, got)
		}
	}
}

// Without a greatest age no delivery is too old.
func TestNoMaxAge(t *testing.T) {
	t.Parallel()
	ep := &endpoint.Settings{Retry: endpoint.Retry{Schedule: []time.Duration{time.Second}}}
	env := &wire.Envelope{Attempt: 1, Accepted: time.Now().Add(-1000 * time.Hour)}
	if got := decide(gotStatus(http.StatusInternalServerError), env, ep, time.Now(), 0.5); got.verb != reschedule {
		t.Errorf("%+v", got)
	}
}

// Every status has an outcome, and only 2xx is success.
func TestDecideKnowsEveryStatus(t *testing.T) {
	t.Parallel()
	ep := endpoint.Default()
	env := &wire.Envelope{Attempt: 1, Accepted: time.Now()}
	for code := 100; code <= 999; code++ {
		d := decide(outcome.Result{Status: code, Class: outcome.StatusClass(code)}, env, &ep, time.Now(), 0.5)
		want := reschedule
		switch {
		case code >= 200 && code <= 299:
			want = ack
		case code == http.StatusGone:
			want = deadLetter
		}
		if d.verb != want {
			t.Errorf("%d: %v, want %v", code, d.verb, want)
		}
	}
}

// The default schedule, in numbers.
func TestDefaultSchedule(t *testing.T) {
	t.Parallel()
	r := endpoint.Default().Retry
	var total time.Duration
	for attempt := range r.Schedule {
		total += r.Wait(attempt+1, 0.5)
	}
	if got := fmt.Sprint(1+len(r.Schedule), " attempts over ", total); got != "10 attempts over 22h42m35s" {
		t.Error(got)
	}
}
