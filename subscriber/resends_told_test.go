package subscriber

import (
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/outcome"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Each one has its place in the metric and, with the event, in the log.
func TestResendsAreCountedAndLogged(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	core, logs := observer.New(zap.InfoLevel)
	d := &Dispatcher{log: zap.New(core), metrics: newMetrics(reg), opts: Options{ServerTime: time.Now}}
	ep := &member{name: "billing", metrics: endpointMetrics{all: d.metrics, endpoint: "billing"}}
	env := &wire.Envelope{EventID: "msg_1", Attempt: 2}
	d.observe(ep, env, outcome.Result{Class: outcome.Class2xx, Status: 204})
	if n := logs.Len(); n != 0 {
		t.Errorf("%d lines", n)
	}
	d.observe(ep, env, outcome.Result{Class: outcome.Class2xx, Status: 204, Resent: []string{"goaway", "refused_stream", "goaway"}})
	d.observe(ep, env, outcome.Result{Class: outcome.ClassInterrupted, Err: outcome.ErrInterrupted, Resent: []string{"connection_closed"}})
	for reason, want := range map[string]float64{"goaway": 2, "refused_stream": 1, "connection_closed": 1} {
		if n := testutil.ToFloat64(d.metrics.resends.WithLabelValues("billing", reason)); n != want {
			t.Errorf("%s: %v, want %v", reason, n, want)
		}
	}
	all := logs.FilterMessage("sent again within one attempt").All()
	if len(all) != 2 || all[0].ContextMap()["id"] != "msg_1" || all[0].ContextMap()["endpoint"] != "billing" {
		t.Errorf("%v", all)
	}
}
