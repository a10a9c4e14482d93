package gateway

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fanjet/gateway/match"
	"fanjet/internal/control"
	"fanjet/subscriber/endpoint"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Why a receiver refuses, or cannot be reached, is told in the same words in the
// log, with the dead letter, with the state of the endpoint and by its test event.
func TestEverybodyHearsWhyAReceiverRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hook.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/strict":
			http.Error(rw, `{"error": "amount must not be negative"}`, http.StatusUnprocessableEntity)
		case "/moved":
			http.Redirect(rw, r, "https://new.example.com/hooks?token=hunter2", http.StatusMovedPermanently)
		}
	})
	secure := httptest.NewUnstartedServer(w.hook.server.Config.Handler)
	secure.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	secure.StartTLS()
	t.Cleanup(secure.Close)
	want := map[string]string{
		"strict": `4xx: 422 Unprocessable Entity: {"error": "amount must not be negative"}`,
		"moved":  "3xx: 301 Moved Permanently, Location: https://new.example.com/hooks?...",
		"secure": "tls: failed to verify certificate: x509: certificate signed by unknown authority",
	}
	urls := map[string]string{"secure": secure.URL}
	for _, name := range []string{"strict", "moved"} {
		urls[name] = w.hook.server.URL + "/" + name
	}
	w.at(urls)
	w.cfg.Subscriptions = []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"strict", "moved", "secure"}}}
	for i := range w.cfg.Endpoints {
		e := &w.cfg.Endpoints[i]
		e.Retry.Schedule = []time.Duration{time.Millisecond}
		e.Circuit = endpoint.Circuit{Failures: 2, Probe: time.Hour, MaxProbe: time.Hour}
	}
	core, logs := observer.New(zap.InfoLevel)
	gw, err := New(Options{Config: w.cfg, Version: "test", Log: zap.New(core), Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	w.gw, w.stop = gw, w.launch(gw)
	w.publish("events.a", `{"amount": -1}`, nil)

	for _, l := range w.letters(len(want)) {
		if l.LastError != want[l.Endpoint] {
			t.Errorf("the letter of %s: %q, want %q", l.Endpoint, l.LastError, want[l.Endpoint])
		}
	}
	for _, s := range dispatcherOf(w.gw).Statuses() {
		if s.LastError != want[s.Endpoint] {
			t.Errorf("the status of %s: %q, want %q", s.Endpoint, s.LastError, want[s.Endpoint])
		}
		if s.State == endpoint.StateOpen && !strings.HasSuffix(s.Reason, " in a row: "+want[s.Endpoint]) {
			t.Errorf("%s is %s: %q", s.Endpoint, s.State, s.Reason)
		}
		if s.Endpoint == "secure" && s.State != endpoint.StateOpen {
			t.Errorf("%s is %s", s.Endpoint, s.State)
		}
		answer, err := control.Ping(t.Context(), w.nats.Conn(), w.gw.names, s.Endpoint, 10*time.Second)
		if err != nil || answer.Error != want[s.Endpoint] {
			t.Errorf("the test event of %s: %q, %v", s.Endpoint, answer.Error, err)
		}
	}
	attempts := logs.FilterMessage("attempt").All()
	if len(attempts) != 2*len(want) {
		t.Errorf("%d attempts", len(attempts))
	}
	for _, entry := range attempts {
		fields := entry.ContextMap()
		if name, _ := fields["endpoint"].(string); fields["error"] != want[name] {
			t.Errorf("the log: %v", fields)
		}
	}
}
