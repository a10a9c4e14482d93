package main

import (
	"bytes"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/control"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

func TestMergeReplicas(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	healthy := subscriber.Status{State: subscriber.StateHealthy, InFlight: 1, Held: 2, Delivered: 90, Failed: 10, LatencyMS: 10, LastError: "500"}
	open := subscriber.Status{
		State: subscriber.StateOpen, Reason: "down", Since: at, Next: at.Add(time.Minute), InFlight: 1, Failed: 300, LatencyMS: 50, LastError: "refused", Ordered: true,
	}
	idle := subscriber.Status{State: subscriber.StateHealthy}
	tests := []struct {
		name     string
		statuses []subscriber.Status
		want     endpointView
	}{
		{"none", nil, endpointView{}},
		{"one", []subscriber.Status{healthy}, endpointView{
			State: subscriber.StateHealthy, InFlight: 1, Held: 2, Delivered: 90, Failed: 10, LatencyMS: 10, LastError: "500",
		}},
		{"idle", []subscriber.Status{idle, idle}, endpointView{State: subscriber.StateHealthy}},
	}
	merged := endpointView{
		State: subscriber.StateOpen, Reason: "down", Since: at, Next: at.Add(time.Minute), Ordered: true,
		InFlight: 2, Held: 2, Delivered: 90, Failed: 310, LatencyMS: 40, LastError: "refused",
	}
	tests = append(tests, []struct {
		name     string
		statuses []subscriber.Status
		want     endpointView
	}{
		{"worst last", []subscriber.Status{healthy, idle, open}, merged},
		{"worst first", []subscriber.Status{open, healthy, idle}, merged},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var replicas []replicaView
			for _, s := range tt.statuses {
				replicas = append(replicas, replicaView{Status: s})
			}
			tt.want.Endpoint = "e"
			if got := mergeReplicas("e", replicas); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("mergeReplicas() = %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestEveryStateHasARank(t *testing.T) {
	t.Parallel()
	ranks := make(map[subscriber.State]bool)
	for _, s := range statesByTrouble() {
		if ranks[s] {
			t.Errorf("%s is listed twice", s)
		}
		ranks[s] = true
	}
	for _, s := range []subscriber.State{
		subscriber.StateHealthy, subscriber.StateSlow, subscriber.StateLimited, subscriber.StateBackingOff,
		subscriber.StateHalfOpen, subscriber.StateOpen, subscriber.StatePaused,
	} {
		if !ranks[s] {
			t.Errorf("%s has no rank", s)
		}
	}
}

func TestTextsOfEndpoints(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59*time.Second + 400*time.Millisecond: "59s", time.Minute: "1m0s",
		90 * time.Second: "1m30s", 3*time.Hour + 25*time.Minute: "3h25m", 50 * time.Hour: "2d2h",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("shortDuration(%v) = %q, want %q", d, got, want)
		}
	}
	for ms, want := range map[float64]string{0: "-", 0.25: "0.2ms", 9.99: "10.0ms", 12.3: "12ms", 999: "999ms", 1500: "1.5s"} {
		if got := latency(ms); got != want {
			t.Errorf("latency(%v) = %q, want %q", ms, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 5 * time.Second: "5s", 2 * time.Minute: "2m", 90 * time.Second: "1m30s", 72 * time.Hour: "72h",
		time.Hour + time.Second: "1h0m1s", 100 * time.Millisecond: "100ms", 10 * time.Second: "10s", 30 * time.Minute: "30m",
	} {
		if got := plainDuration(d); got != want {
			t.Errorf("plainDuration(%v) = %q, want %q", d, got, want)
		}
	}
	for text, want := range map[string]string{
		"https://a.example.com":             "https://a.example.com",
		"https://a.example.com/":            "https://a.example.com",
		"https://a.example.com:8443/secret": "https://a.example.com:8443/…",
		"http://a.example.com?token=secret": "http://a.example.com/…",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := publicURL(u); got != want {
			t.Errorf("publicURL(%s) = %q, want %q", text, got, want)
		}
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		state subscriber.State
		next  time.Time
		want  string
	}{
		{subscriber.StateOpen, time.Time{}, ""},
		{subscriber.StateOpen, now.Add(12 * time.Second), "a probe in 12s"},
		{subscriber.StateOpen, now.Add(-time.Second), "a probe now"},
		{subscriber.StateBackingOff, now.Add(time.Minute), "attempts again in 1m0s"},
	} {
		if got := nextText(tt.state, tt.next, now); got != tt.want {
			t.Errorf("nextText(%s) = %q, want %q", tt.state, got, tt.want)
		}
	}
	for want, a := range map[string]control.PingAnswer{
		"a: 204 in 1.5ms": {Endpoint: "a", Class: subscriber.Class2xx, Status: 204, TookMS: 1.5},
		"a: no response after 15.0s: timeout: late":   {Endpoint: "a", Class: subscriber.ClassTimeout, TookMS: 15000, Error: "timeout: late"},
		"a: not tried by the gateway on h: no such a": {Endpoint: "a", Error: "no such a", Replica: control.Replica{Host: "h"}},
	} {
		if got := describePing(&a); got != want {
			t.Errorf("describePing() = %q, want %q", got, want)
		}
	}
}

func TestSettingsOf(t *testing.T) {
	t.Parallel()
	e := subscriber.DefaultEndpoint()
	e.Headers = http.Header{"X-Team": {"payments"}, "Authorization": {"secret"}}
	e.RateLimit = subscriber.Rate{Count: 600, Per: time.Minute}
	e.Circuit.Failures = 0
	e.Ordered, e.Block = true, true
	var text bytes.Buffer
	settingsOf(&e).rows(func(name, value string) { text.WriteString(name + "=" + value + "\n") })
	for _, want := range []string{
		"headers=Authorization, X-Team\n", "rate_limit=600/m\n", "circuit=never opens\n", "ordered=yes, on_exhausted: block\n",
		"retries after=5s, 30s, 2m, 10m, 30m, 1h, 3h, 6h, 12h\n", "dead_letter_on=410\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("lacks %q:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "secret") {
		t.Errorf("shows a secret:\n%s", text.String())
	}
}

// TestEndpointsPermissions does everything as a user who may do no more than
// docs/endpoints.md says is needed.
func TestEndpointsPermissions(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{Listen: true, Adjust: func(o *server.Options) {
		o.NoAuthUser = "gateway"
		o.Users = []*server.User{
			{Username: "gateway", Password: "g"},
			{Username: "operator", Password: "o", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				Publish: &server.SubjectPermission{Allow: []string{
					"fanjet.ctl.>",
					"$JS.API.STREAM.INFO.KV_fanjet-state", "$JS.API.CONSUMER.CREATE.KV_fanjet-state.>", "$JS.API.CONSUMER.DELETE.KV_fanjet-state.>",
					"$JS.API.DIRECT.GET.KV_fanjet-state.>", "$KV.fanjet-state.>",
					"$JS.API.STREAM.INFO.FANJET_LANES", "$JS.API.STREAM.MSG.GET.FANJET_LANES", "$JS.API.CONSUMER.INFO.FANJET_LANES.*",
					"$JS.API.STREAM.INFO.FANJET_RETRIES", "$JS.API.STREAM.INFO.FANJET_DLQ",
				}},
			}},
		}
	}})
	names := wire.NewNames("")
	js := srv.JetStream()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket()}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.LanesStream(), Subjects: []string{names.LaneSubject("*")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), names.LaneSubject("billing"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Conn().Subscribe(names.ControlPingSubject("*"), func(m *nats.Msg) {
		if err := m.Respond([]byte(`{"class": "2xx", "status": 200}`)); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Conn().Subscribe(names.ControlEndpointsSubject(), func(m *nats.Msg) {
		if err := m.Respond([]byte(`{"replica": {"id": "one"}, "parts": 1, "endpoints": [{"endpoint": "billing", "state": "slow"}]}`)); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(srv.URL(), "nats://", "nats://operator:o@", 1)
	for _, args := range [][]string{
		{"pause", "billing"}, {"list"}, {"show", "billing"}, {"resume", "billing"}, {"ping", "billing"},
	} {
		var out, err bytes.Buffer
		code := run(t.Context(), append([]string{"--nats", url, "endpoints"}, args...), streams{in: strings.NewReader(""), out: &out, err: &err})
		if code != exitOK {
			t.Errorf("endpoints %v ended with %d:\n%s%s", args, code, out.String(), err.String())
		}
	}
}
