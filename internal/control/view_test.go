package control

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"fanjet/subscriber/endpoint"
)

func TestMergeReplicas(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	healthy := endpoint.Status{State: endpoint.StateHealthy, InFlight: 1, Held: 2, Delivered: 90, Failed: 10, LatencyMS: 10, LastError: "500"}
	open := endpoint.Status{
		State: endpoint.StateOpen, Reason: "down", Since: at, Next: at.Add(time.Minute), InFlight: 1, Failed: 300, LatencyMS: 50, LastError: "refused", Ordered: true,
	}
	idle := endpoint.Status{State: endpoint.StateHealthy}
	held := func(until time.Time) endpoint.Status {
		return endpoint.Status{State: endpoint.StateBackingOff, Reason: "until " + until.String(), Next: until}
	}
	tests := []struct {
		name     string
		statuses []endpoint.Status
		want     EndpointView
	}{
		{"none", nil, EndpointView{}},
		{"one", []endpoint.Status{healthy}, EndpointView{
			State: endpoint.StateHealthy, InFlight: 1, Held: 2, Delivered: 90, Failed: 10, LatencyMS: 10, LastError: "500",
		}},
		{"idle", []endpoint.Status{idle, idle}, EndpointView{State: endpoint.StateHealthy}},
		{"held", []endpoint.Status{held(at), held(at.Add(time.Hour)), held(at.Add(time.Minute))}, EndpointView{
			State: endpoint.StateBackingOff, Reason: "until " + at.Add(time.Hour).String(), Next: at.Add(time.Hour),
		}},
	}
	merged := EndpointView{
		State: endpoint.StateOpen, Reason: "down", Since: at, Next: at.Add(time.Minute), Ordered: true,
		InFlight: 2, Held: 2, Delivered: 90, Failed: 310, LatencyMS: 40, LastError: "refused",
	}
	tests = append(tests, []struct {
		name     string
		statuses []endpoint.Status
		want     EndpointView
	}{
		{"worst last", []endpoint.Status{healthy, idle, open}, merged},
		{"worst first", []endpoint.Status{open, healthy, idle}, merged},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var replicas []ReplicaView
			for _, s := range tt.statuses {
				replicas = append(replicas, ReplicaView{Status: s})
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
	ranks := make(map[endpoint.State]bool)
	for _, s := range StatesByTrouble() {
		if ranks[s] {
			t.Errorf("%s is listed twice", s)
		}
		ranks[s] = true
	}
	for _, s := range []endpoint.State{
		endpoint.StateHealthy, endpoint.StateSlow, endpoint.StateLimited, endpoint.StateBackingOff,
		endpoint.StateHalfOpen, endpoint.StateRefusing, endpoint.StateOpen, endpoint.StatePaused,
	} {
		if !ranks[s] {
			t.Errorf("%s has no rank", s)
		}
	}
}

func TestTextsOfSettings(t *testing.T) {
	t.Parallel()
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
}

func TestSettingsOf(t *testing.T) {
	t.Parallel()
	e := endpoint.Default()
	e.Headers = http.Header{"X-Team": {"payments"}, "Authorization": {"secret"}}
	e.RateLimit = endpoint.Rate{Count: 600, Per: time.Minute}
	e.Circuit.Failures = 0
	e.Ordered, e.Block = true, true
	text, err := json.Marshal(settingsOf(&e))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"headers":["Authorization","X-Team"]`, `"rate_limit":"600/m"`, `"circuit":"none: the first of the line is tried again`, `"ordered":true,"on_exhausted":"block"`,
		`"retry_schedule":["5s","30s","2m","10m","30m","1h","3h","6h","12h"]`, `"dead_letter_on":[410]`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("shows a secret:\n%s", text)
	}
	e.Ordered = false
	if got := settingsOf(&e).Circuit; got != "never opens" {
		t.Errorf("with failures: 0 the circuit %s", got)
	}
}
