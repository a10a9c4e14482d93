package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"fanjet/internal/control"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/outcome"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		state endpoint.State
		next  time.Time
		want  string
	}{
		{endpoint.StateOpen, time.Time{}, ""},
		{endpoint.StateOpen, now.Add(12 * time.Second), "a probe in 12s"},
		{endpoint.StateOpen, now.Add(-time.Second), "a probe now"},
		{endpoint.StateBackingOff, now.Add(time.Minute), "attempts again in 1m0s"},
		{endpoint.StateRefusing, now.Add(time.Second), "one attempt in 1s"},
		{control.StateRemoved, now.Add(time.Minute), "its deliveries become dead letters in 1m0s"},
	} {
		if got := nextText(tt.state, tt.next, now); got != tt.want {
			t.Errorf("nextText(%s) = %q, want %q", tt.state, got, tt.want)
		}
	}
	for want, a := range map[string]control.PingAnswer{
		"a: 204 in 1.5ms": {Endpoint: "a", Class: outcome.Class2xx, Status: 204, TookMS: 1.5},
		"a: 400 in 1.5ms: Bad Request: no such user": {Endpoint: "a", Class: outcome.Class4xx, Status: 400, TookMS: 1.5, Error: "4xx: 400 Bad Request: no such user"},
		"a: 500 in 1.5ms": {Endpoint: "a", Class: outcome.Class5xx, Status: 500, TookMS: 1.5}, // by an older gateway
		"a: no response after 15.0s: timeout: late":   {Endpoint: "a", Class: outcome.ClassTimeout, TookMS: 15000, Error: "timeout: late"},
		"a: not tried by the gateway on h: no such a": {Endpoint: "a", Error: "no such a", Replica: control.Replica{Host: "h"}},
		"a: 204 in 1.5ms; its deliveries wait nevertheless, for it is backing_off (until noon); fanjet endpoints resume a ends that": {
			Endpoint: "a", Class: outcome.Class2xx, Status: 204, TookMS: 1.5, State: endpoint.StateBackingOff, Reason: "until noon",
		},
		"a: 204 in 1.5ms; its deliveries wait nevertheless, for it is paused by ann: moving; fanjet endpoints resume a ends that": {
			Endpoint: "a", Class: outcome.Class2xx, Status: 204, TookMS: 1.5, State: endpoint.StatePaused, Reason: "paused by ann: moving",
		},
		"a: 204 in 1.5ms; its deliveries wait nevertheless, for it is refusing (104 events); fanjet endpoints resume a lets the next one go at once": {
			Endpoint: "a", Class: outcome.Class2xx, Status: 204, TookMS: 1.5, State: endpoint.StateRefusing, Reason: "104 events",
		},
	} {
		if got := describePing(&a); got != want {
			t.Errorf("describePing() = %q, want %q", got, want)
		}
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
					"$JS.API.STREAM.INFO.KV_fanjet-state", "$JS.API.STREAM.MSG.GET.KV_fanjet-state", "$KV.fanjet-state.>",
					"$JS.API.STREAM.INFO.FANJET_LANES", "$JS.API.STREAM.MSG.GET.FANJET_LANES", "$JS.API.CONSUMER.INFO.FANJET_LANES.*",
					"$JS.API.STREAM.INFO.FANJET_RETRIES", "$JS.API.STREAM.INFO.FANJET_DLQ",
					"fanjet.audit.cli.*", "$JS.API.STREAM.INFO.FANJET_AUDIT", "$JS.API.DIRECT.GET.FANJET_AUDIT",
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
	if _, err := js.CreateStream(t.Context(), auditStream(names)); err != nil {
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
		{"endpoints", "pause", "billing"},
		{"endpoints", "list"},
		{"endpoints", "show", "billing"},
		{"endpoints", "resume", "billing"},
		{"endpoints", "ping", "billing"},
		{"audit", "list"},
	} {
		var out, err bytes.Buffer
		code := run(t.Context(), append([]string{"--nats", url}, args...), streams{in: strings.NewReader(""), out: &out, err: &err})
		if code != exitOK {
			t.Errorf("%v ended with %d:\n%s%s", args, code, out.String(), err.String())
		}
	}
}
