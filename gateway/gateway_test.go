package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// Every expected pair of event and endpoint arrives exactly once, with the
// event's bytes and the same id everywhere; nothing else arrives.
//
// Promise 2: in a run without faults there are no duplicates.
func TestEveryPairOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "b"), endpointFor(t, w.hook, "c")}
	w.cfg.Subscriptions = []match.Subscription{
		{Name: "paid", Subjects: []string{"events.orders.*.paid"}, Endpoints: []string{"a", "b"}},
		{Name: "all-orders", Subjects: []string{"events.orders.>"}, Endpoints: []string{"a"}}, // overlaps: a still gets it once
		{Name: "large", Subjects: []string{"events.>"}, Filter: "data.n >= 500", Endpoints: []string{"c"}},
		{Name: "vip", Subjects: []string{"events.orders.*.*"}, Filter: `headers["X-Vip"] == "yes"`, Endpoints: []string{"b"}},
	}
	w.start()
	const n = 1000
	want := map[string]int{} // endpoint and body
	for i := range n {
		subject := []string{"events.orders.eu.paid", "events.orders.us.created", "events.users.login"}[i%3]
		body := fmt.Sprintf(`{"n": %d}`, i)
		header := nats.Header{}
		vip := i%7 == 0
		if vip {
			header.Set("X-Vip", "yes")
		}
		if strings.Contains(subject, "orders") {
			want["a "+body]++
		}
		if strings.HasSuffix(subject, "paid") || vip && strings.Contains(subject, "orders") {
			want["b "+body]++
		}
		if i >= 500 {
			want["c "+body]++
		}
		w.publish(subject, body, header)
	}
	w.waitFor("everything has arrived", func() bool { return len(w.hook.all()) >= len(want) })
	w.quiet()
	ids, seen := map[string]string{}, map[string]int{}
	for _, r := range w.hook.all() {
		pair := r.endpoint + " " + r.body
		if want[pair] != 1 {
			t.Errorf("unexpected: %s", pair)
		}
		if seen[pair]++; seen[pair] > 1 {
			t.Errorf("twice: %s", pair)
		}
		if id := ids[r.body]; id != "" && id != r.id {
			t.Errorf("%s has the ids %s and %s", r.body, id, r.id)
		}
		ids[r.body] = r.id
	}
	if len(seen) != len(want) {
		t.Errorf("%d pairs of %d arrived", len(seen), len(want))
	}
	w.waitFor("the delivery log is empty", func() bool { return w.messages(w.gw.names.DeliveriesStream()) == 0 })
	if err := w.gw.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

// An endpoint that fails half of its attempts gets everything in the end, and
// the attempts of a delivery are numbered.
func TestFlakyEndpointGetsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = make([]time.Duration, 12)
	for i := range w.cfg.Endpoints[0].Retry.Schedule {
		w.cfg.Endpoints[0].Retry.Schedule[i] = 10 * time.Millisecond
	}
	w.hook.set(func(r request) int { // fails 0 to 5 times, about as often as it succeeds
		var attempt, failures int
		_, _ = fmt.Sscan(r.attempt, &attempt)
		for _, c := range r.id {
			failures = (failures + int(c)) % 6
		}
		if attempt <= failures {
			return 500
		}
		return 200
	})
	w.start()
	const n = 500
	w.publishMany("events.x", n)
	w.delivered("a", n)
	w.quiet()
	attempts := map[string]int{}
	for _, r := range w.hook.all() {
		attempts[r.id]++
		if r.attempt != fmt.Sprint(attempts[r.id]) {
			t.Errorf("request %d of %s says attempt %s", attempts[r.id], r.id, r.attempt)
		}
	}
	if len(attempts) != n || len(w.hook.got("a")) != n {
		t.Errorf("%d events, %d accepted", len(attempts), len(w.hook.got("a")))
	}
	w.checkNoOverlap()
}

// What exhausted its attempts is a dead letter that says everything, and a
// replay delivers it with the same id and bytes.
func TestDeadLetterAndReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.set(func(request) int { return 503 })
	w.start()
	seq := w.publish("events.orders.paid", `{"a": 1}`, nats.Header{"X-Own": {"kept"}, "Content-Type": {"text/plain"}})
	letter := w.letters(1)[0]
	if letter.Reason != dlq.ReasonExhausted || letter.Attempts != 3 || letter.LastStatus != 503 || letter.Endpoint != "a" ||
		letter.Subject != "events.orders.paid" || letter.Source != fmt.Sprint("EVENTS/", seq) || letter.Generation != 0 ||
		string(letter.Data) != `{"a": 1}` || letter.Headers.Get("X-Own") != "kept" || letter.LastAttempt.Before(letter.FirstAttempt) || letter.FirstAttempt.IsZero() {
		t.Errorf("%+v", letter)
	}
	failed := w.hook.all()
	if len(failed) != 3 || failed[0].id != letter.EventID {
		t.Errorf("%+v", failed)
	}
	w.hook.set(nil)
	outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{})
	if err != nil || outcome.Done != 1 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	got := w.delivered("a", 1)[0]
	if got.id != letter.EventID || got.body != `{"a": 1}` || got.attempt != "1" {
		t.Errorf("%+v", got)
	}
	w.quiet()
	if n := w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
}

func TestReasonsOfDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{
		endpointFor(t, w.hook, "gone"),
		endpointFor(t, w.hook, "old", func(e *endpoint.Settings) {
			e.Retry.Schedule, e.Retry.MaxAge = []time.Duration{time.Hour}, time.Minute
		}),
		endpointFor(t, w.hook, "blocked", func(e *endpoint.Settings) {
			blocked := *e.URL
			blocked.Host = "10.1.2.3"
			e.URL = &blocked
		}),
	}
	w.cfg.Subscriptions[0].Endpoints = []string{"gone", "old", "blocked"}
	w.hook.set(func(r request) int {
		if r.endpoint == "gone" {
			return 410
		}
		return 500
	})
	w.start()
	w.publish("events.x", "{}", nil)
	want := map[string]dlq.Reason{"gone": dlq.ReasonRejected, "old": dlq.ReasonExpired, "blocked": dlq.ReasonBlockedDestination}
	for _, l := range w.letters(3) {
		if l.Reason != want[l.Endpoint] || l.Attempts != 1 {
			t.Errorf("%s: %s after %d attempts", l.Endpoint, l.Reason, l.Attempts)
		}
	}
}

// One endpoint's failures leave the fast lane: another endpoint does not wait.
func TestFailingEndpointDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{
		endpointFor(t, w.hook, "a"),
		endpointFor(t, w.hook, "sick", func(e *endpoint.Settings) { e.Retry.Schedule = []time.Duration{time.Hour} }),
	}
	w.cfg.Subscriptions[0].Endpoints = []string{"a", "sick"}
	w.hook.set(func(r request) int {
		if r.endpoint == "sick" {
			return 500
		}
		return 200
	})
	w.start()
	w.publishMany("events.x", 300)
	w.delivered("a", 300)
	w.waitFor("the retries are scheduled", func() bool { return w.messages(w.gw.names.RetriesStream()) == 300 })
	w.waitFor("the delivery log is empty", func() bool { return w.messages(w.gw.names.DeliveriesStream()) == 0 })
}

func TestSlotsBoundAttemptsInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].MaxInFlight = 3
	release := w.hook.block("a")
	w.start()
	w.publishMany("events.x", 20)
	active := func() int {
		w.hook.mu.Lock()
		defer w.hook.mu.Unlock()
		return len(w.hook.active["a"])
	}
	w.waitFor("the slots are used", func() bool { return active() == 3 })
	w.waitFor("the rest waits in the endpoint's lane", func() bool { return w.messages(w.gw.names.LanesStream()) == 17 })
	if n := active(); n != 3 {
		t.Errorf("%d attempts in flight", n)
	}
	release()
	w.delivered("a", 20)
}
