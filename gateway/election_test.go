package gateway

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/match"
	"fanjet/internal/natstest"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

// newElectionWorld has an endpoint for each way that a delivery takes to it:
// straight from the log, from its lane, in order, and as a retry. Two gateways serve
// them, from a cluster if there is one.
func newElectionWorld(t *testing.T, cluster *natstest.Cluster) (w *world, resume func()) {
	t.Helper()
	w = newWorld(t)
	if cluster != nil {
		w.js = cluster.JetStream()
		w.cfg.NATS.URL, w.cfg.NATS.Replicas = cluster.URL(), 3
	}
	ways := []string{"straight", "lane", "line", "retry"}
	w.cfg.Endpoints, w.cfg.Subscriptions = nil, nil
	for _, name := range ways {
		w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, name, func(e *endpoint.Settings) {
			e.MaxInFlight, e.Timeout, e.Ordered = backlogSize, time.Minute, name == "line"
		}))
		w.cfg.Subscriptions = append(w.cfg.Subscriptions, match.Subscription{Name: name, Subjects: []string{"events." + name}, Endpoints: []string{name}})
	}
	w.gw, w.stop = w.run(5 * time.Second)
	_, stopOther := w.run(5 * time.Second)
	t.Cleanup(stopOther)

	// A backlog gathers in front of all of them.
	names := w.gw.names
	bucket, err := w.js.KeyValue(t.Context(), names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lane", "line"} {
		if _, err := state.SetPause(t.Context(), bucket, name, endpoint.Pause{Since: time.Now(), By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	var refused atomic.Int32
	w.hook.set(func(r request) int {
		if r.endpoint == "retry" && refused.Load() < backlogSize {
			refused.Add(1)
			return 503
		}
		return 200
	})
	w.hold(names.RetriesStream(), names.DueConsumer(), true)
	w.publishMany("events.retry", backlogSize)
	w.waitFor("the retries are due", func() bool { return w.pendingOf(names.RetriesStream(), names.DueConsumer()) == backlogSize })
	w.hold(names.DeliveriesStream(), names.DeliverConsumer(), true)
	for _, name := range ways[:3] {
		w.publishMany("events."+name, backlogSize)
	}
	w.waitFor("the backlog is stored", func() bool {
		return w.messages(names.LanesStream()) == 2*backlogSize && w.pendingOf(names.DeliveriesStream(), names.DeliverConsumer()) == backlogSize
	})
	stored := time.Now()
	w.waitFor("it is older than the ack wait", func() bool { return time.Since(stored) > wire.DeliverAckWait+time.Second })
	return w, func() {
		w.Helper()
		w.hold(names.RetriesStream(), names.DueConsumer(), false)
		w.hold(names.DeliveriesStream(), names.DeliverConsumer(), false)
		for _, name := range []string{"lane", "line"} {
			if _, err := state.ClearPause(t.Context(), bucket, name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const backlogSize = 60

// hold has a consumer hand out nothing, or again.
func (w *world) hold(stream, consumer string, held bool) {
	w.Helper()
	s, err := w.js.Stream(w.Context(), stream)
	if err == nil && held {
		_, err = s.PauseConsumer(w.Context(), consumer, time.Now().Add(time.Hour))
	} else if err == nil {
		_, err = s.ResumeConsumer(w.Context(), consumer)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) infoOf(stream, consumer string) (jetstream.ConsumerInfo, bool) {
	c, err := w.js.Consumer(w.Context(), stream, consumer)
	if err != nil {
		return jetstream.ConsumerInfo{}, false
	}
	return *c.CachedInfo(), true
}

func (w *world) pendingOf(stream, consumer string) uint64 {
	info, _ := w.infoOf(stream, consumer)
	return info.NumPending
}

// flying returns how many requests an endpoint is answering.
func (r *receiver) flying(endpoint string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.active[endpoint])
}

// A change of leaders, or an orderly restart of the one server, while receivers work
// on what has waited for long: the other gateway sends none of it, and an ordered
// endpoint sees one request at a time.
func TestOldBacklogIsSentOnce(t *testing.T) {
	t.Parallel()
	t.Run("elections", func(t *testing.T) {
		t.Parallel()
		cluster := natstest.StartCluster(t)
		w, resume := newElectionWorld(t, cluster)
		names := w.gw.names
		w.sendsOnce(resume, func() {
			for stream, consumer := range w.consumers() {
				cluster.StepDownConsumer(w.js, stream, consumer)
			}
			for _, lane := range []string{"lane", "line"} {
				cluster.StepDownConsumer(w.js, names.LanesStream(), names.LaneConsumer(lane))
			}
		})
	})
	t.Run("restart", func(t *testing.T) {
		t.Parallel()
		w, resume := newElectionWorld(t, nil)
		w.sendsOnce(resume, w.nats.Restart)
	})
}

// consumers are the shared ones, by stream.
func (w *world) consumers() map[string]string {
	names := w.gw.names
	return map[string]string{
		"EVENTS": names.MatchConsumer(), names.DeliveriesStream(): names.DeliverConsumer(), names.RetriesStream(): names.DueConsumer(),
	}
}

// sendsOnce lets the backlog out, disturbs NATS while receivers work on it, and
// checks that nothing was sent twice.
func (w *world) sendsOnce(resume, disturb func()) {
	w.Helper()
	var release []func()
	for _, e := range w.cfg.Endpoints {
		release = append(release, w.hook.block(e.Name))
	}
	before := len(w.hook.all())
	resume()
	w.waitFor("receivers work on all that they may get", func() bool {
		return w.hook.flying("straight") == backlogSize && w.hook.flying("lane") == backlogSize && w.hook.flying("retry") == backlogSize && w.hook.flying("line") == 1
	})
	disturb()
	names := w.gw.names
	w.waitFor("both gateways ask for more", func() bool {
		for stream, consumer := range w.consumers() {
			if info, ok := w.infoOf(stream, consumer); stream != "EVENTS" && (!ok || info.NumWaiting < 2) {
				return false
			}
		}
		return true
	})
	for _, f := range slices.Backward(release) {
		f()
	}
	for _, e := range w.cfg.Endpoints {
		w.delivered(e.Name, backlogSize)
	}
	w.quiet()
	w.waitFor("the lanes are empty", func() bool { return w.messages(names.LanesStream()) == 0 })
	w.checkNoOverlap()
	sent := map[string]map[string]int{}
	for _, r := range w.hook.all()[before:] {
		if sent[r.endpoint] == nil {
			sent[r.endpoint] = map[string]int{}
		}
		sent[r.endpoint][r.id]++
	}
	for endpoint, ids := range sent {
		twice := 0
		for _, times := range ids {
			if times > 1 {
				twice++
			}
		}
		if twice > 0 {
			w.Errorf("%s: %d of %d were sent twice", endpoint, twice, len(ids))
		}
	}
}
