package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/internal/control"
	"fanjet/internal/jsapi"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

func ordered(ep *endpoint.Settings) { ep.Ordered = true }

// newOrderedWorld is a world whose endpoint "a" is ordered.
func newOrderedWorld(t *testing.T, change ...func(*endpoint.Settings)) *world {
	t.Helper()
	w := newWorld(t)
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a", append(change, ordered)...)}
	return w
}

func number(t *testing.T, r request) int {
	t.Helper()
	var event struct{ N int }
	if err := json.Unmarshal([]byte(r.body), &event); err != nil {
		t.Fatal(err)
	}
	return event.N
}

// firsts returns the numbers of the events that an endpoint accepted, each once,
// by when it was accepted first.
func (w *world) firsts(endpoint string) []int {
	w.Helper()
	seen := map[int]bool{}
	var out []int
	for _, r := range w.hook.got(endpoint) {
		if n := number(w.T, r); !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// inOrder fails unless an endpoint has accepted events 0 to n-1, each first
// after the one before.
func (w *world) inOrder(endpoint string, n int) {
	w.Helper()
	got := w.firsts(endpoint)
	if len(got) != n {
		w.Errorf("%s has %d events, want %d", endpoint, len(got), n)
	}
	for i := 1; i < len(got); i++ {
		if got[i] != got[i-1]+1 {
			w.Fatalf("%s got %d after %d", endpoint, got[i], got[i-1])
		}
	}
}

// lineEmpty waits until nothing waits in a lane.
func (w *world) lineEmpty() {
	w.Helper()
	w.waitFor("the lanes are empty", func() bool { return w.messages(w.gw.names.LanesStream()) == 0 })
}

// A receiver that fails some events a few times, and lets others hang, gets them
// in order nevertheless, one at a time, each again until it is accepted.
func TestOrderedInPlace(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t, func(ep *endpoint.Settings) {
		ep.Timeout = 300 * time.Millisecond
		ep.MaxInFlight = 32
	})
	var mu sync.Mutex
	active, most := 0, 0
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		active++
		most = max(most, active)
		mu.Unlock()
		defer func() {
			mu.Lock()
			active--
			mu.Unlock()
		}()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if n := number(t, request{body: string(body)}); n%25 == 7 && r.Header.Get("Fanjet-Attempt") == "1" {
			<-r.Context().Done() // it hangs
			return
		}
		w.hook.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.cfg.Endpoints[0].URL.Host = front.Listener.Addr().String()
	w.hook.set(func(r request) int {
		n := number(t, r)
		if n%10 == 3 && r.attempt != "3" || n%25 == 7 && r.attempt == "1" {
			return 503
		}
		return 200
	})
	w.start()
	const n = 100
	w.publishMany("events.x", n)
	w.delivered("a", n)
	w.lineEmpty()
	w.inOrder("a", n)
	last := -1
	for i, r := range w.hook.all() {
		got := number(t, r)
		again := got == last && r.attempt != "1"
		afterHang := got%25 == 7 && r.attempt == "2"
		if !again && (got != last+1 || r.attempt != "1" && !afterHang) {
			t.Errorf("request %d is attempt %s of %d, after one of %d", i, r.attempt, got, last)
		}
		last = got
	}
	// The server may notice late that a client gave up.
	if most > 2 {
		t.Errorf("%d requests at once", most)
	}
	if n := w.messages(w.gw.names.RetriesStream()) + w.messages(w.gw.names.DeadLettersStream()); n != 0 {
		t.Errorf("%d retries and letters", n)
	}
}

// The attempts of the first of the line are counted across restarts.
func TestOrderedAttemptsSurviveRestarts(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t, func(ep *endpoint.Settings) {
		ep.Retry.Schedule = []time.Duration{50 * time.Millisecond, 1500 * time.Millisecond, time.Hour}
		ep.Retry.Jitter = 0
	})
	var up bool
	w.hook.set(func(r request) int {
		if !up && number(t, r) == 0 {
			return 500
		}
		return 200
	})
	w.start()
	w.publishMany("events.x", 5)
	w.waitFor("two attempts are made", func() bool { return len(w.hook.all()) == 2 })
	w.waitFor("they are noted", func() bool { return w.head("a").Attempt == 3 })
	w.stop()
	w.start()
	w.waitFor("the third attempt is made", func() bool { return len(w.hook.all()) == 3 })
	w.waitFor("it is noted", func() bool { return w.head("a").Attempt == 4 })
	for i, r := range w.hook.all() {
		if number(t, r) != 0 || r.attempt != strconv.Itoa(i+1) {
			t.Errorf("request %d is attempt %s of %d", i, r.attempt, number(t, r))
		}
	}
	// The next one is due in an hour, but an operator may say that the receiver
	// is back.
	w.hook.mu.Lock()
	up = true
	w.hook.mu.Unlock()
	w.pauseAndResume("a")
	got := w.delivered("a", 5)
	if got[0].attempt != "4" {
		t.Errorf("delivered with attempt %s", got[0].attempt)
	}
	w.inOrder("a", 5)
}

// head reads what is stored about the first of a line.
func (w *world) head(endpoint string) (h struct {
	Attempt int
	Stands  bool
},
) {
	w.Helper()
	if entry, err := w.state().Get(w.Context(), "head."+endpoint); err == nil {
		if err := json.Unmarshal(entry.Value(), &h); err != nil {
			w.Fatal(err)
		}
	}
	return h
}

func (w *world) pauseAndResume(name string) {
	w.Helper()
	bucket := w.state()
	if _, err := state.SetPause(w.Context(), bucket, name, endpoint.Pause{Since: time.Now(), By: "test"}); err != nil {
		w.Fatal(err)
	}
	w.waitFor("it is paused", func() bool { return w.endpointState(name).State == endpoint.StatePaused })
	if _, err := state.ClearPause(w.Context(), bucket, name); err != nil {
		w.Fatal(err)
	}
}

// One that has used up its attempts becomes a dead letter, and the line goes
// on. Replayed, it comes to the end of the line.
func TestOrderedExhausted(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t)
	var up bool
	w.hook.set(func(r request) int {
		if !up && number(t, r) == 1 {
			return 500
		}
		return 200
	})
	w.start()
	w.publishMany("events.x", 4)
	w.delivered("a", 3)
	letters := w.letters(1)
	if l := letters[0]; l.Reason != dlq.ReasonExhausted || l.Attempts != 3 {
		t.Errorf("letter %+v", l)
	}
	if got := fmt.Sprint(w.firsts("a")); got != "[0 2 3]" {
		t.Errorf("delivered %s", got)
	}
	w.hook.mu.Lock()
	up = true
	w.hook.mu.Unlock()
	if _, err := w.queue().Replay(w.Context(), dlq.Filter{}, dlq.ReplayOptions{}); err != nil {
		t.Fatal(err)
	}
	got := w.delivered("a", 4)
	if r := got[3]; number(t, r) != 1 || r.attempt != "1" || r.id != letters[0].EventID {
		t.Errorf("the replay came as %+v", r)
	}
	w.lineEmpty()
}

// With on_exhausted: block the line stands, across restarts, until an operator
// has it tried again or passed over.
func TestOrderedBlock(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t, func(ep *endpoint.Settings) { ep.Block = true })
	failing := map[int]bool{1: true, 3: true}
	w.hook.set(func(r request) int {
		if failing[number(t, r)] {
			return 500
		}
		return 200
	})
	w.start()
	w.publishMany("events.x", 6)
	bucket := w.state()
	// blocked waits until the line stands after so many requests in all.
	blocked := func(requests int) endpoint.Pause {
		t.Helper()
		var p endpoint.Pause
		w.waitFor(fmt.Sprintf("the line stands after %d requests", requests), func() bool {
			pauses, err := state.Pauses(t.Context(), bucket)
			p = pauses["a"]
			return err == nil && p.Blocked != "" && w.head("a").Stands && len(w.hook.all()) >= requests
		})
		if n := len(w.hook.all()); n != requests || p.By != "fanjet" || !strings.HasSuffix(p.Reason, " failed 3 times: 5xx: 500 Internal Server Error") {
			t.Errorf("%d requests, want %d; pause %+v", n, requests, p)
		}
		return p
	}
	resume := func() {
		t.Helper()
		if _, err := state.ClearPause(t.Context(), bucket, "a"); err != nil {
			t.Fatal(err)
		}
	}
	blocked(4) // 0, and three times 1
	resume()
	blocked(7) // it is tried anew
	w.stop()
	w.start()
	w.hook.mu.Lock()
	delete(failing, 1)
	w.hook.mu.Unlock()
	resume()
	p := blocked(7 + 2 + 3) // 1, 2, and three times 3
	w.stop()
	w.start()
	if err := state.SkipFirst(t.Context(), bucket, "a", p.Blocked); err != nil {
		t.Fatal(err)
	}
	resume()
	w.delivered("a", 5)
	if got := fmt.Sprint(w.firsts("a")); got != "[0 1 2 4 5]" {
		t.Errorf("delivered %s", got)
	}
	if l := w.letters(1)[0]; l.Reason != dlq.ReasonExhausted || l.Attempts != 3 || l.LastStatus != 500 {
		t.Errorf("letter %+v", l)
	}
	w.lineEmpty()
	if n := len(w.hook.all()); n != 14 {
		t.Errorf("%d requests", n)
	}
}

// Each source has its own order.
func TestOrderedTwoSources(t *testing.T) {
	t.Parallel()
	w := newOrderedWorld(t)
	w.cfg.Sources = append(w.cfg.Sources, config.Source{Stream: "AUDIT", Subjects: []string{"audit.>"}, Create: true, MaxAge: 168 * time.Hour})
	w.cfg.Subscriptions[0].Subjects = append(w.cfg.Subscriptions[0].Subjects, "audit.>")
	w.start()
	const n = 200
	for i := range n {
		w.publish([]string{"events.x", "audit.x"}[i%2], fmt.Sprintf(`{"n":%d}`, i), nil)
	}
	last := map[string]int{"events.x": -1, "audit.x": -1}
	for _, r := range w.delivered("a", n) {
		if got := number(t, r); got <= last[r.subject] {
			t.Errorf("%s: %d after %d", r.subject, got, last[r.subject])
		} else {
			last[r.subject] = got
		}
	}
	w.lineEmpty()
}

// A line that stands holds up nobody else.
func TestOrderedLineHarmsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"a", "b"}
	w.cfg.Endpoints = []endpoint.Settings{endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "b", ordered)}
	for i := range 20 {
		name := fmt.Sprintf("standing-%d", i)
		names = append(names, name)
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, name, ordered, func(ep *endpoint.Settings) {
			ep.Retry.Schedule = []time.Duration{time.Hour}
		}))
	}
	w.cfg.Subscriptions[0].Endpoints = names
	w.hook.set(func(r request) int {
		if r.endpoint == "a" || r.endpoint == "b" {
			return 200
		}
		return 500
	})
	w.start()
	const n = 100
	w.publishMany("events.x", n)
	w.delivered("a", n)
	w.delivered("b", n)
	w.inOrder("b", n)
	w.waitFor("every line stands", func() bool { return len(w.hook.all()) >= 2*n+20 })
	if got := len(w.hook.all()); got != 2*n+20 {
		t.Errorf("%d requests", got)
	}
	if held := w.messages(w.gw.names.LanesStream()); held < 20*n {
		t.Errorf("the lanes hold %d deliveries", held)
	}
}

// An endpoint becomes ordered, and unordered again, while events flow: nothing
// is lost or doubled, and what is published while it is ordered comes in order.
func TestOrderedByReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	inOrder := w.version([]endpoint.Settings{endpointFor(t, w.hook, "a", ordered)}, w.cfg.Subscriptions)
	w.hook.set(func(r request) int {
		if number(t, r)%7 == 3 && r.attempt == "1" {
			return 500
		}
		return 200
	})
	const perRound, rounds = 150, 4
	for round := range rounds {
		cfg := w.cfg
		if round%2 == 1 {
			cfg = inOrder
		}
		w.reload(cfg)
		for i := range perRound {
			w.publish("events.x", fmt.Sprintf(`{"n":%d}`, round*perRound+i), nil)
		}
	}
	w.delivered("a", rounds*perRound)
	w.quiet()
	w.lineEmpty()
	if got := len(w.hook.got("a")); got != rounds*perRound {
		t.Errorf("%d deliveries of %d events", got, rounds*perRound)
	}
	var line []int
	last := rounds*perRound - perRound
	for _, n := range w.firsts("a") {
		if n >= last {
			line = append(line, n) // of the last round, which is ordered
		}
	}
	if !slices.IsSorted(line) || len(line) != perRound {
		t.Errorf("%d events of the last round, in this order: %v", len(line), line)
	}
}

// What is on its way when an endpoint becomes ordered is delivered before the
// line begins, also if it fails at first.
func TestOrderedDrainsFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.Endpoints[0].Retry.Schedule = []time.Duration{2 * time.Second}
	w.hook.set(func(r request) int {
		if number(t, r) < 5 && r.attempt == "1" {
			return 500
		}
		return 200
	})
	w.start()
	w.publishMany("events.x", 5)
	w.waitFor("all have failed", func() bool { return len(w.hook.all()) == 5 })
	w.reload(w.version([]endpoint.Settings{endpointFor(t, w.hook, "a", ordered)}, w.cfg.Subscriptions))
	for i := range 5 {
		w.publish("events.x", fmt.Sprintf(`{"n":%d}`, 5+i), nil)
	}
	w.delivered("a", 10)
	got := w.firsts("a")
	slices.Sort(got[:5])
	if want := "[0 1 2 3 4 5 6 7 8 9]"; fmt.Sprint(got) != want {
		t.Errorf("delivered %v", got)
	}
}

// state opens the state bucket.
func (w *world) state() jetstream.KeyValue {
	w.Helper()
	kv, err := jsapi.OpenBucket(w.Context(), w.js, wire.NewNames(w.cfg.NATS.Prefix).StateBucket())
	if err != nil {
		w.Fatal(err)
	}
	return kv
}

// endpointState returns how an endpoint does in the gateway.
func (w *world) endpointState(name string) endpoint.Status {
	w.Helper()
	reports, _, err := control.Statuses(w.Context(), w.nats.Conn(), w.gw.names, name)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range reports {
		for _, s := range r.Statuses {
			return s
		}
	}
	return endpoint.Status{}
}
