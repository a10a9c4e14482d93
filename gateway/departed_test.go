package gateway

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fanjet/gateway/match"
	"fanjet/subscriber"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// seriesOf returns the values of all series with the label of an endpoint, by
// metric and the other label.
func seriesOf(t *testing.T, reg *prometheus.Registry, endpoint string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			of, others := "", []string{family.GetName()}
			for _, label := range m.GetLabel() {
				if label.GetName() == "endpoint" {
					of = label.GetValue()
					continue
				}
				others = append(others, label.GetValue())
			}
			if of == endpoint {
				found[strings.Join(others, " ")] = m.GetCounter().GetValue()
			}
		}
	}
	return found
}

// observed starts a gateway whose metrics and log are looked at.
func (w *world) observed(change ...func(*subscriber.Options)) (*prometheus.Registry, *observer.ObservedLogs) {
	w.Helper()
	reg := prometheus.NewRegistry()
	core, logs := observer.New(zap.InfoLevel)
	gw, err := New(Options{Config: w.cfg, Version: "test", Log: zap.New(core), Registry: reg, Grace: 5 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	gw.adjust = func(o *subscriber.Options) {
		for _, f := range change {
			f(o)
		}
	}
	w.gw, w.stop = gw, w.launch(gw)
	return reg, logs
}

// The series of an endpoint go when it has left the configuration and its attempts
// have ended, and it counts from nothing when it comes back, however often.
func TestMetricsOfRemovedEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a"), endpointFor(t, w.hook, "b"), endpointFor(t, w.hook, "fails", func(e *endpoint.Settings) {
		e.Retry.Schedule = []time.Duration{10 * time.Millisecond}
		e.Circuit = endpoint.Circuit{Failures: 2, Probe: 10 * time.Millisecond, MaxProbe: 10 * time.Millisecond}
		e.DeadLetterOn = nil
	}))
	w.answers("fails", http.StatusInternalServerError)
	reg, _ := w.observed()
	with := w.cfg
	without := w.version([]endpoint.Settings{with.Endpoints[1]}, nil)
	for round := 1; round <= 3; round++ {
		w.publishMany("events.x", 10)
		w.delivered("a", 10*round)
		w.waitFor("series of all that fails", func() bool {
			have := seriesOf(t, reg, "fails")
			return have["fanjet_delivery_attempts_total 5xx"] > 0 && have["fanjet_dead_letters_total exhausted"] > 0 &&
				have["fanjet_retries_scheduled_total"] > 0 && have["fanjet_circuit_opened_total"] > 0
		})
		if n := seriesOf(t, reg, "a")["fanjet_delivery_attempts_total 2xx"]; n != 10 {
			t.Errorf("round %d: %v attempts of a, which came back, want those since then: 10", round, n)
		}
		w.reload(without)
		for _, name := range []string{"a", "fails"} {
			w.waitFor("the series of "+name+" are gone", func() bool { return len(seriesOf(t, reg, name)) == 0 })
		}
		if n := seriesOf(t, reg, "b")["fanjet_delivery_attempts_total 2xx"]; n != float64(10*round) {
			t.Errorf("round %d: %v attempts of b, which stays", round, n)
		}
		w.reload(with)
	}
}

// While something of a removed endpoint is in flight its series stay, and one that
// is back by then goes on with them: nothing that it counts is lost.
func TestMetricsOfAnEndpointThatIsBackSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endpoints(endpointFor(t, w.hook, "a"))
	reg, _ := w.observed()
	attempts := func() float64 { return seriesOf(t, reg, "a")["fanjet_delivery_attempts_total 2xx"] }
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	w.waitFor("it is counted", func() bool { return attempts() == 1 })
	release := w.hook.block("a")
	w.publish("events.x", "{}", nil)
	w.waitFor("it is in flight", func() bool { return len(w.hook.all()) == 2 })
	with := w.cfg
	w.reload(w.version(nil, nil))
	dispatcherOf(w.gw).ForgetQuiet()
	if attempts() != 1 {
		t.Error("its series are gone while an attempt is in flight")
	}
	w.reload(with)
	release()
	w.waitFor("the attempt is counted", func() bool { return attempts() == 2 })
	dispatcherOf(w.gw).ForgetQuiet()
	w.publish("events.x", "{}", nil)
	w.waitFor("and what comes after it", func() bool { return attempts() == 3 })
	w.reload(w.version(nil, nil))
	w.waitFor("its series are gone", func() bool { return len(seriesOf(t, reg, "a")) == 0 })
}

// What dies for endpoints that are not in the configuration is counted, but not
// under names that anybody can make up.
func TestLabelsOfForeignMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reg, logs := w.observed(func(o *subscriber.Options) { o.RemovalGrace = time.Second })
	const n = 40
	seq := w.publish("events.x", "{}", nil)
	for i := range n {
		name := fmt.Sprintf("made-up-%d", i)
		verdict := w.delivery(name, seq) // one that somebody says was given up, for a reason of his own
		verdict.Header.Set("Fanjet-Reason", "reason-"+name)
		for _, m := range []*nats.Msg{
			w.delivery("gone-"+name, seq),
			{Subject: w.gw.names.DeliverSubject(name), Data: []byte("hello")}, // no delivery at all
			verdict,
		} {
			if _, err := w.js.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.letters(3 * n)
	w.waitFor("all are counted", func() bool {
		have := seriesOf(t, reg, "(unknown)")
		return have["fanjet_dead_letters_total endpoint_removed"] == n && have["fanjet_dead_letters_total unpublishable"] == 2*n && len(have) == 2
	})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.Contains(family.String(), "made-up") {
			t.Errorf("a label of %s is made up by others", family.GetName())
		}
	}
	if lines := logs.FilterMessage("dead letter").Len(); lines > 2*10 {
		t.Errorf("%d lines of dead letters", lines)
	}
}

// What the egress policy forbids has one line each, and not more than can be read;
// another endpoint's is not lost among them.
func TestBlockedDeliveriesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	blocked := func(name string) endpoint.Settings {
		return endpointFor(t, w.hook, name, func(e *endpoint.Settings) {
			e.Policy = &egress.Policy{AllowHTTP: true, AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("10.9.9.9/32")}}}
		})
	}
	w.endpoints(blocked("x"))
	_, logs := w.observed()
	const n = 300
	w.publishMany("events.x", n)
	w.letters(n)
	w.reload(w.version([]endpoint.Settings{blocked("x"), blocked("y")}, []match.Subscription{{Name: "y", Subjects: []string{"events.>"}, Endpoints: []string{"y"}}}))
	w.publish("events.y", "{}", nil)
	w.letters(n + 1)
	w.waitFor("the line of y", func() bool {
		return logs.FilterMessage("dead letter").FilterField(zap.String("endpoint", "y")).Len() == 1
	})
	if lines := logs.FilterMessage("attempt").Len(); lines > 0 {
		t.Errorf("%d lines of attempts besides", lines)
	}
	letters := logs.FilterMessage("dead letter").FilterField(zap.String("endpoint", "x")).All()
	if len(letters) == 0 || len(letters) > 10 {
		t.Fatalf("%d lines of dead letters of %d", len(letters), n)
	}
	fields := letters[0].ContextMap()
	for key, want := range map[string]any{"endpoint": "x", "reason": "blocked_destination", "subject": "events.x", "attempts": int64(1)} {
		if fields[key] != want {
			t.Errorf("%s is %v, want %v", key, fields[key], want)
		}
	}
	for _, key := range []string{"id", "source", "error"} {
		if fields[key] == "" {
			t.Errorf("no %s", key)
		}
	}
}
