package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"fanjet/gateway"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"
)

// What stands still is no "0 problems".
func TestReportDeliveries(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old := now.Add(-time.Hour)
	for name, test := range map[string]struct {
		view  control.EndpointView
		level gateway.Level
		says  string
	}{
		"well":             {control.EndpointView{State: endpoint.StateHealthy, Oldest: now.Add(-time.Second), Waiting: 1}, gateway.LevelOK, "healthy"},
		"open":             {control.EndpointView{State: endpoint.StateOpen, Reason: "503", Since: old, Waiting: 7, Oldest: old}, gateway.LevelProblem, "is open for 1h0m (503); 7 deliveries wait, the oldest for 1h0m"},
		"refusing":         {control.EndpointView{State: endpoint.StateRefusing}, gateway.LevelProblem, "is refusing"},
		"paused":           {control.EndpointView{State: endpoint.StatePaused, Retries: 1, Pause: &endpoint.Pause{By: "ann"}}, gateway.LevelWarning, "is paused; 1 delivery waits"},
		"paused by itself": {control.EndpointView{State: endpoint.StatePaused, Pause: &endpoint.Pause{By: "fanjet"}}, gateway.LevelProblem, "is paused"},
		"slow":             {control.EndpointView{State: endpoint.StateSlow, Waiting: 3}, gateway.LevelWarning, "is slow; 3 deliveries wait"},
		"backing off":      {control.EndpointView{State: endpoint.StateBackingOff}, gateway.LevelWarning, "is backing_off"},
		"half open":        {control.EndpointView{State: endpoint.StateHalfOpen}, gateway.LevelWarning, "is half_open"},
		"limited":          {control.EndpointView{State: endpoint.StateLimited}, gateway.LevelWarning, "is limited"},
		"unknown":          {control.EndpointView{State: control.StateUnknown, Reason: "r"}, gateway.LevelProblem, "is unknown (r)"},
		"removed":          {control.EndpointView{State: control.StateRemoved, Reason: "r", Retries: 2}, gateway.LevelWarning, "is removed (r); 2 deliveries wait"},
		"old":              {control.EndpointView{State: endpoint.StateHealthy, Waiting: 9, Oldest: old}, gateway.LevelWarning, "is behind: 9 deliveries wait, the oldest for 1h0m"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &diagnosis{}
			reportDeliveries(d, []control.EndpointView{test.view}, now, true)
			if !d.says("deliveries", test.level, test.says) || (d.Problems > 0) != (test.level == gateway.LevelProblem) || !d.says("dead letters", gateway.LevelOK, "none") {
				t.Errorf("%+v", d.Checks)
			}
		})
	}
	many := make([]control.EndpointView, 3*mostNamed)
	for i := range many {
		many[i] = control.EndpointView{Endpoint: fmt.Sprintf("e%d", i), State: endpoint.StateOpen, DeadLetters: 1}
	}
	d := &diagnosis{}
	reportDeliveries(d, many, now, true)
	if d.Problems != mostNamed || !d.says("deliveries", gateway.LevelWarning, "40 that are open") || !d.says("dead letters", gateway.LevelWarning, "60 of their deliveries") {
		t.Errorf("of many: %+v", d.Checks)
	}
}

// doctor beside a gateway with an endpoint that is down, a dead letter, and a file
// that it refused.
func TestDoctorBesideTrouble(t *testing.T) {
	t.Parallel()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/gone") {
			w.WriteHeader(http.StatusGone)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(hook.Close)
	p := newGatewayProcess(t, hook.URL, `
endpoints:
  down: {url: "HOOK/down", circuit: {failures: 1}, retry: {schedule: [1h]}}
  gone: {url: "HOOK/gone"}
subscriptions: [{name: all, subjects: ["events.>"], endpoints: [down, gone]}]
`)
	p.start()
	waitUntil(t, "commands find the gateway", func() bool {
		return runFanjet(t, "publish", "events.x", "--data", "{}", "--config", p.config).code == exitOK
	})
	if err := os.WriteFile(p.config, []byte(readText(t, p.config)+"egres: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var last string
	waitUntil(t, "doctor tells all of it", func() bool {
		last = runFanjet(t, "doctor", "--config", p.config).out
		for _, want := range []string{"down: is open", "dead letters  warning", "goes on with an earlier configuration", "egres: unknown key"} {
			if !strings.Contains(last, want) {
				return false
			}
		}
		return true
	})
	if strings.Contains(last, ", 0 problems") {
		t.Error(last)
	}
}
