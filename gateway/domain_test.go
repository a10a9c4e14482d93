package gateway

import (
	"fmt"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/broker"
	"fanjet/internal/control"
	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A gateway that is connected to a leaf node works on the streams of the hub, in
// its JetStream domain: events, retries, lanes, dead letters and their replay, the
// state, and what operators do. In the domain of the leaf node nothing is made.
func TestGatewayInADomain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pair := natstest.Leaf(t)
	w.cfg.NATS.URL, w.cfg.NATS.Domain = pair.Edge.URL(), natstest.HubDomain
	var err error
	if w.js, err = w.cfg.NATS.JetStream(pair.Edge.Conn(), jetstream.WithDefaultTimeout(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.endpoints(endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "lined", ordered))
	w.start()
	defer w.stop() // before its servers
	failing := true
	w.hook.set(func(r request) int {
		if failing && r.body == "fails" {
			return 503
		}
		return 200
	})

	const n = 50
	hub := pair.Hub.JetStream()
	for i := range n { // from the hub, and from the edge
		js := w.js
		if i%2 == 0 {
			js = hub
		}
		if _, err := js.Publish(t.Context(), "events.x", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.delivered("a", n)
	w.delivered("lined", n)
	w.publish("events.x", "fails", nats.Header{nats.MsgIdHdr: {"1"}})
	letters := w.letters(2)
	for _, l := range letters {
		if l.Reason != "exhausted" || l.Attempts != 3 {
			t.Errorf("%+v", l)
		}
	}
	w.hook.mu.Lock()
	failing = false
	w.hook.mu.Unlock()

	// Operators, on the same connection to the edge.
	state, err := control.OpenState(t.Context(), w.js, w.gw.names)
	if err != nil {
		t.Fatal(err)
	}
	o := control.NewOperator(control.Options{JetStream: w.js, Names: w.gw.names, State: state, Endpoints: func() []endpoint.Settings { return w.cfg.Endpoints }})
	if _, err := o.Pause(t.Context(), ann, "a", "to see what waits"); err != nil {
		t.Fatal(err)
	}
	w.inState("a", endpoint.StatePaused)
	queue, err := control.OpenLetters(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := queue.Replay(t.Context(), control.Act{By: ann, Selected: 2}, dlq.Filter{}, control.Outlook{}, dlq.ReplayOptions{})
	if err != nil || report.Done != 2 || report.AuditError != "" {
		t.Fatalf("%+v, %v", report, err)
	}
	w.delivered("lined", n+1)
	w.waitFor("the replayed delivery waits", func() bool {
		backlog, err := control.BacklogOf(t.Context(), jsapi.Of(w.js), w.gw.names, "a")
		return err == nil && backlog.Waiting == 1
	})
	if resumed, err := o.Resume(t.Context(), ann, "a", "", false); err != nil || !resumed.Changed || *resumed.Held != 1 {
		t.Errorf("%+v, %v", resumed, err)
	}
	w.delivered("a", n+1)
	w.quiet()
	w.exactly("a", n+1)
	w.exactly("lined", n+1)
	if err := w.gw.Ready(); err != nil {
		t.Error(err)
	}
	for _, f := range Examine(t.Context(), w.js, w.cfg, nil) {
		if f.Level != LevelOK {
			t.Errorf("doctor says: %+v", f)
		}
	}
	info, err := pair.Edge.JetStream().AccountInfo(t.Context())
	if err != nil || info.Streams != 0 || info.Domain != natstest.EdgeDomain {
		t.Errorf("in the domain of the edge: %+v, %v", info, err)
	}
}

// The domain is for servers of others: the embedded one has none.
func TestEmbeddedServerHasNoDomain(t *testing.T) {
	t.Parallel()
	js, err := broker.Settings{Domain: "hub"}.JetStream(natstest.Start(t, natstest.Options{}).Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(t.Context()); err != nil {
		t.Error(err)
	}
}
