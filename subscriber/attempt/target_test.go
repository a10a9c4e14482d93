package attempt

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/outcome"
)

// What is configured of an endpoint is what its requests are sent by.
func TestSending(t *testing.T) {
	t.Parallel()
	settings := endpoint.Default()
	settings.URL = &url.URL{Scheme: "https", Host: "example.com"}
	settings.Headers = http.Header{"X-Team": {"pay"}}
	settings.Timeout, settings.MaxInFlight = 7*time.Second, 9
	guard, idle := egress.New(loopback, egress.GuardOptions{}), httpsend.NewIdleLimit()
	want := httpsend.Options{
		URL: settings.URL, Headers: settings.Headers, UserAgent: "Fanjet/1.2.3",
		Timeout: 7 * time.Second, Slots: 9, Guard: guard, Idle: idle,
	}
	if got := sending(settings, guard, "1.2.3", idle); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A target that cannot sign or send says which endpoint it is of.
func TestNewTargetRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*endpoint.Settings){
		"a secret": func(s *endpoint.Settings) { s.Secrets = nil },
		"a header": func(s *endpoint.Settings) { s.Headers = http.Header{"Host": {"other"}} },
		"a URL":    func(s *endpoint.Settings) { s.URL = &url.URL{Scheme: "https"} },
	} {
		settings := testEndpoint(t, "https://example.com", loopback).Settings
		change(&settings)
		if _, err := NewTarget(settings, egress.New(loopback, egress.GuardOptions{}), "", nil); err == nil || !strings.HasPrefix(err.Error(), "endpoint test: ") {
			t.Errorf("%s that is wrong: %v", name, err)
		}
	}
}

// What went wrong on the way and was made good is told, of an attempt that succeeds in the
// end and of one that does not.
func TestAttemptTellsWhatWasSentAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		breaks int32 // requests after the first
		class  outcome.Class
	}{{1, outcome.Class2xx}, {2, outcome.ClassConnect}} {
		var requests atomic.Int32
		s := receiver(t, func(http.ResponseWriter, *http.Request) {
			if n := requests.Add(1); n > 1 && n <= 1+tt.breaks {
				panic(http.ErrAbortHandler)
			}
		})
		ep := testEndpoint(t, s.URL, loopback)
		if r := try(t.Context(), ep, nil, nil); r.Class != outcome.Class2xx || r.Resent != nil || r.Took <= 0 || r.Began.IsZero() {
			t.Errorf("%+v", r)
		}
		if r := try(t.Context(), ep, nil, nil); r.Class != tt.class || !slices.Equal(r.Resent, []string{"connection_closed"}) {
			t.Errorf("after %d breaks: %+v", tt.breaks, r)
		}
	}
}

// An attempt ends with its context, and says why that ended.
func TestAttemptIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancelCause(t.Context())
	s := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		interrupt(outcome.ErrInterrupted)
		<-r.Context().Done()
	})
	if r := try(ctx, testEndpoint(t, s.URL, loopback), nil, []byte("{}")); r.Class != outcome.ClassInterrupted || !errors.Is(r.Err, outcome.ErrInterrupted) {
		t.Errorf("%+v", r)
	}
}

// What a receiver asks for that counts as nothing is kept as it was sent.
func TestAbsurdRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	s := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "soon")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	if r := try(t.Context(), testEndpoint(t, s.URL, loopback), nil, nil); r.Absurd != "soon" || r.RetryAfter != 0 {
		t.Errorf("%+v", r)
	}
}

// A target keeps its connection from attempt to attempt, whatever the answers, until it is
// told to close it; one that is retired sends nothing more.
func TestTargetKeepsItsConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	opened, closed := make(chan struct{}, 8), make(chan struct{}, 8)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[requests.Add(1)%2 == 0])
		_, _ = io.WriteString(w, "what it says")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened <- struct{}{}
		case http.StateClosed:
			closed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	ep := testEndpoint(t, s.URL, loopback)
	for range 4 {
		if r := try(t.Context(), ep, nil, nil); r.Status == 0 {
			t.Fatalf("%+v", r)
		}
	}
	if n := len(opened); n != 1 {
		t.Errorf("%d connections of 4 attempts", n)
	}
	ep.CloseIdle()
	<-closed
	ep.Retire()
	if r := try(t.Context(), ep, nil, nil); r.Class != outcome.ClassInterrupted || !errors.Is(r.Err, outcome.ErrRetired) || requests.Load() != 4 {
		t.Errorf("%+v after %d requests", r, requests.Load())
	}
}
