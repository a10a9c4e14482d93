package gateway

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"fanjet/gateway/source"
	"fanjet/internal/wire"
)

// messagesOf finds the folder of the messages of EVENTS, without those of its
// consumers.
func (w *world) messagesOf() string {
	w.Helper()
	return filepath.Join(w.nats.StoreDir(), "jetstream", "$G", "streams", "EVENTS", "msgs")
}

// loseTail stops NATS, puts back what the messages of EVENTS were when keep was
// made, and starts NATS again: what a power cut does that comes before the
// latest writes are on disk. The consumer's state is of later, as happens.
func (w *world) loseTail(keep string) {
	w.Helper()
	w.nats.Stop()
	if err := os.RemoveAll(w.messagesOf()); err != nil {
		w.Fatal(err)
	}
	if err := os.CopyFS(w.messagesOf(), os.DirFS(keep)); err != nil {
		w.Fatal(err)
	}
	w.nats.Resume()
}

// keepTail copies the messages of EVENTS; NATS is stopped for that.
func (w *world) keepTail() string {
	w.Helper()
	keep := w.TempDir()
	w.nats.Stop()
	defer w.nats.Resume()
	if err := os.CopyFS(keep, os.DirFS(w.messagesOf())); err != nil {
		w.Fatal(err)
	}
	files, err := fs.Glob(os.DirFS(keep), "*")
	if err != nil || len(files) == 0 {
		w.Fatalf("no messages to keep: %v", err)
	}
	return keep
}

func (w *world) checkBodies(want map[string]int) {
	w.Helper()
	got, ids := map[string]int{}, map[string]string{}
	for _, r := range w.hook.all() {
		got[r.body]++
		if body, ok := ids[r.id]; ok && body != r.body {
			w.Errorf("%q and %q have the id %s", r.body, body, r.id)
		}
		ids[r.id] = r.body
	}
	for body, n := range want {
		if got[body] != n {
			w.Errorf("%q came %d times, not %d", body, got[body], n)
		}
	}
	if len(got) != len(want) {
		w.Errorf("got %v, want %v", got, want)
	}
}

const notWhatItWas = "the source stream is not what it was"

func checkFinding(t *testing.T, logs *observer.ObservedLogs, want string) {
	t.Helper()
	said := logs.FilterMessage(notWhatItWas).All()
	if len(said) != 1 || said[0].ContextMap()["finding"] != want {
		t.Errorf("%v, want %q once", said, want)
	}
}

// A source that lost its end while the gateway was stopped uses the sequences
// again: the new events are delivered, the old ones are not repeated.
func TestSourceLosesItsEndWhileStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "1", nil)
	w.publish("events.x", "2", nil)
	w.delivered("a", 2)
	w.quiet()
	w.stop()
	keep := w.keepTail()

	w.start()
	w.publish("events.x", "3, lost", nil)
	w.publish("events.x", "4, lost", nil)
	w.delivered("a", 4)
	w.quiet()
	w.stop() // now the cursor is at 4
	w.loseTail(keep)
	if seq := w.publish("events.x", "3, new", nil); seq != 3 {
		t.Fatalf("the end was not lost: %d", seq)
	}
	w.publish("events.x", "4, new", nil)
	logs := w.watched()
	w.publish("events.x", "5, new", nil)
	w.delivered("a", 4+3)
	w.quiet()
	w.checkBodies(map[string]int{"1": 1, "2": 1, "3, lost": 1, "4, lost": 1, "3, new": 1, "4, new": 1, "5, new": 1})
	checkFinding(t, logs, source.WentBack)
	if n := w.missed(); n != 0 {
		t.Errorf("%v missed", n)
	}
	if n := w.metric("fanjet_events_skipped_total", "EVENTS"); n != 0 {
		t.Errorf("%v skipped", n)
	}
}

// The same while the gateway runs.
func TestSourceLosesItsEndWhileRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	logs := w.watched()
	w.publish("events.x", "1", nil)
	w.delivered("a", 1)
	w.quiet()
	keep := w.keepTail()
	w.waitFor("it is ready again", func() bool { return w.gw.Ready() == nil })
	w.publish("events.x", "2, lost", nil)
	w.delivered("a", 2)
	w.quiet()
	cursor := func() uint64 {
		kv, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
		if err != nil {
			return 0
		}
		entry, err := kv.Get(t.Context(), "cursor.EVENTS")
		if err != nil {
			return 0
		}
		var p wire.Cursor
		err = json.Unmarshal(entry.Value(), &p)
		if err != nil {
			t.Fatal(err)
		}
		return p.Sequence
	}
	w.waitFor("the cursor is at 2", func() bool { return cursor() == 2 })
	w.loseTail(keep)
	if seq := w.publish("events.x", "2, new", nil); seq != 2 {
		t.Fatalf("the end was not lost: %d", seq)
	}
	w.publish("events.x", "3, new", nil)
	w.delivered("a", 4)
	w.quiet()
	w.checkBodies(map[string]int{"1": 1, "2, lost": 1, "2, new": 1, "3, new": 1})
	checkFinding(t, logs, source.WentBack)
	w.waitFor("the cursor goes on", func() bool { return cursor() == 3 })
}

// A consumer that is past the end of its stream, as older servers and clusters
// leave it when a stream loses its end, would pass over the next events.
func TestConsumerPastTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "1", nil)
	w.delivered("a", 1)
	w.quiet()
	w.stop()
	if _, err := w.js.ResetConsumerToSequence(t.Context(), "EVENTS", w.gw.names.MatchConsumer(), 50); err != nil {
		t.Fatal(err)
	}
	logs := w.watched()
	w.publish("events.x", "2", nil)
	w.publish("events.x", "3", nil)
	w.delivered("a", 3)
	w.quiet()
	w.checkBodies(map[string]int{"1": 1, "2": 1, "3": 1})
	if logs.FilterMessage(wentBack).Len() != 1 || logs.FilterMessage("the source stream is not what it was").Len() != 0 {
		t.Errorf("%v", logs.All())
	}
}

// A source that is created again while the gateway is stopped is another
// source: its events are delivered whatever the cursor says, and it is said
// that those of the first one are gone.
func TestSourceCreatedAgainWhileStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	for _, body := range []string{"1, old", "2, old", "3, old"} {
		w.publish("events.x", body, nil)
	}
	w.delivered("a", 3)
	w.quiet()
	w.stop()
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	if err := w.js.DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	w.publish("events.x", "1, new", nil)
	logs := w.watched()
	w.publish("events.x", "2, new", nil)
	w.delivered("a", 5)
	w.quiet()
	w.checkBodies(map[string]int{"1, old": 1, "2, old": 1, "3, old": 1, "1, new": 1, "2, new": 1})
	checkFinding(t, logs, source.CreatedAgain)
	if n := w.missed(); n != 0 {
		t.Errorf("%v missed", n)
	}
	// Said once: the next start finds the cursor of this stream.
	w.stop()
	logs = w.watched()
	if n := logs.FilterMessage(notWhatItWas).Len(); n != 0 {
		t.Errorf("said again: %v", logs.All())
	}
}

// After a power cut the server's clock may be behind the one before: what comes
// then is not taken for what was fanned out.
func TestCursorOfTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.publish("events.x", "1", nil)
	w.delivered("a", 1)
	w.quiet()
	w.stop()
	stream, err := w.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	kv, err := w.js.KeyValue(t.Context(), w.gw.names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(wire.Cursor{Created: stream.CachedInfo().Created, Sequence: 9, Stored: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "cursor.EVENTS", value); err != nil {
		t.Fatal(err)
	}
	w.publish("events.x", "2", nil)
	logs := w.watched()
	w.delivered("a", 2)
	checkFinding(t, logs, source.WentBack)
}

// So it is with the streams of Fanjet itself: what is stored after the start is
// neither passed over nor removed as if it were settled.
func TestOwnConsumersPastTheEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deliveries", "retries", "lane"} {
		t.Run(name, func(t *testing.T) {
			p := newPausing(t)
			var failed atomic.Bool
			p.hook.set(func(r request) int {
				if r.body == "fails" && !failed.Swap(true) {
					return http.StatusServiceUnavailable
				}
				return http.StatusOK
			})
			p.start()
			p.pause()
			p.publish("events.x", "1", nil)
			p.held(1)
			p.resume()
			p.delivered("a", 1)
			p.quiet()
			names := p.gw.names
			at := map[string]struct{ stream, consumer string }{
				"deliveries": {names.DeliveriesStream(), names.DeliverConsumer()},
				"retries":    {names.RetriesStream(), names.DueConsumer()},
				"lane":       {names.LanesStream(), names.LaneConsumer("a")},
			}[name]
			p.stop()
			if _, err := p.js.ResetConsumerToSequence(t.Context(), at.stream, at.consumer, 50); err != nil {
				t.Fatal(err)
			}
			// Some may come twice.
			have := func(n int) {
				t.Helper()
				for _, endpoint := range []string{"a", "b"} {
					p.waitFor(fmt.Sprintf("%s has %d events", endpoint, n), func() bool {
						bodies := make(map[string]bool)
						for _, r := range p.hook.got(endpoint) {
							bodies[r.body] = true
						}
						return len(bodies) == n
					})
				}
			}
			p.start()
			p.publish("events.x", "fails", nil)
			have(2)
			p.held(0)
			p.pause()
			p.publish("events.x", "2", nil)
			p.publish("events.x", "3", nil)
			p.held(2)
			p.resume()
			have(4)
			p.quiet()
			p.stop()
		})
	}
}
