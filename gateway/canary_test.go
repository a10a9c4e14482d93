package gateway

import (
	"strings"
	"testing"
	"time"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

func newCanaryWorld(t *testing.T) *world {
	w := newWorld(t)
	w.cfg.Canary = config.Canary{Subject: "events.fanjet.canary", Every: 40 * time.Millisecond, MaxAge: 2 * time.Second}
	return w
}

// cameThrough waits for another canary of a gateway.
func (w *world) cameThrough(gw *Gateway) {
	w.Helper()
	newest := func() time.Time {
		gw.canary.mu.Lock()
		defer gw.canary.mu.Unlock()
		return gw.canary.newest
	}
	before := newest()
	w.waitFor("a canary has come through", func() bool { return newest().After(before) })
}

func TestCanariesComeThrough(t *testing.T) {
	t.Parallel()
	w := newCanaryWorld(t)
	w.start()
	second, stopSecond := w.run(5 * time.Second)
	defer stopSecond()
	// Either may deliver those of the other.
	for range 5 {
		w.cameThrough(w.gw)
		w.cameThrough(second)
	}
	if err := w.gw.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	w.publish("events.a", `1`, nil)
	w.delivered("a", 1)
	w.cameThrough(w.gw)
	stopSecond()
	w.stop()
	w.start()
	w.cameThrough(w.gw) // a new life, in which those of the one before may still arrive
	for _, r := range w.hook.got("a") {
		if r.subject != "events.a" {
			t.Errorf("a subscription to all events saw the canary on %s", r.subject)
		}
	}
	if n, err := w.queue().Count(t.Context(), dlq.Filter{}); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
}

func TestCanariesThatStayAwayMakeUnready(t *testing.T) {
	t.Parallel()
	w := newCanaryWorld(t)
	w.start()
	w.cameThrough(w.gw)
	bucket, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.SetPause(t.Context(), bucket, config.CanaryEndpoint, endpoint.Pause{Since: time.Now(), By: "test"}); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the gateway is not ready", func() bool {
		err := w.gw.Ready()
		return err != nil && strings.Contains(err.Error(), "canary: no event that was published in the last 2s came through")
	})
	if _, err := state.ClearPause(t.Context(), bucket, config.CanaryEndpoint); err != nil {
		t.Fatal(err)
	}
	w.waitFor("the gateway is ready again", func() bool { return w.gw.Ready() == nil })
}

// What others publish on the subject goes nowhere.
func TestCanariesOfOthers(t *testing.T) {
	t.Parallel()
	w := newCanaryWorld(t)
	w.start()
	for _, data := range []string{``, `no JSON`, `{"replica": "a.b", "number": 1}`, `{"replica": ">", "number": 1}`, `{"replica": "nobody", "number": -1}`} {
		w.publish("events.fanjet.canary", data, nil)
	}
	w.cameThrough(w.gw)
	w.cameThrough(w.gw)
	w.quietButCanaries()
	if got := w.hook.all(); len(got) != 0 {
		t.Errorf("%d requests", len(got))
	}
	if n, err := w.queue().Count(t.Context(), dlq.Filter{}); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
}

// quietButCanaries waits until all events of before are delivered.
func (w *world) quietButCanaries() {
	w.Helper()
	stream, err := w.js.Stream(w.Context(), "EVENTS")
	if err != nil {
		w.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	w.waitFor("all events are matched", func() bool {
		c, err := w.js.Consumer(w.Context(), "EVENTS", w.gw.names.MatchConsumer())
		return err == nil && c.CachedInfo().AckFloor.Stream >= last
	})
	w.cameThrough(w.gw)
}
