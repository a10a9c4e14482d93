package dlq

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

var testEnvelope = wire.Envelope{
	EventID:      "msg_abc",
	Key:          "key",
	Endpoint:     "billing",
	Subject:      "events.orders.42.paid",
	Source:       "EVENTS/7",
	Accepted:     time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC),
	Attempt:      4,
	Generation:   1,
	FirstAttempt: time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC),
	LastAttempt:  time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC),
	LastStatus:   503,
	LastError:    "503 Service Unavailable",
}

func TestNewMessage(t *testing.T) {
	t.Parallel()
	internal := nats.Header{
		"Fanjet-Event-Id":      {"msg_abc"},
		"Fanjet-Key":           {"key"},
		"Fanjet-Endpoint":      {"billing"},
		"Fanjet-Subject":       {"events.orders.42.paid"},
		"Fanjet-Source":        {"EVENTS/7"},
		"Fanjet-Accepted":      {"2026-03-01T12:00:00.000000005Z"},
		"Fanjet-Attempt":       {"4"},
		"Fanjet-Generation":    {"1"},
		"Fanjet-First-Attempt": {"2026-03-01T12:00:01Z"},
		"Fanjet-Last-Attempt":  {"2026-03-01T13:00:00Z"},
		"Fanjet-Last-Status":   {"503"},
		"Fanjet-Last-Error":    {"503 Service Unavailable"},
		"Fanjet-Attempts":      {"3"},
		"Nats-Msg-Id":          {"FANJET_RETRIES/9/17"},
	}
	with := func(more nats.Header) nats.Header {
		h := maps.Clone(internal)
		maps.Copy(h, more)
		return h
	}
	event := nats.Header{
		"Content-Type":         {"application/json"},
		"X-Tags":               {"a", "b"},
		"Nats-Expected-Stream": {"EVENTS"},
		"nats-schedule-next":   {"purge"},
		"Nats-Msg-Id":          {"order-42"},
		"Fanjet-Attempt":       {"99"},
		"FANJET-REASON":        {"none"},
	}
	tests := []struct {
		name       string
		reason     Reason
		wantHeader nats.Header
		wantData   string
	}{
		{"the event's own headers travel, no others", ReasonExhausted, with(nats.Header{
			"Fanjet-Reason": {"exhausted"}, "Content-Type": {"application/json"}, "X-Tags": {"a", "b"},
		}), "body"},
		{"too large is by reference", ReasonTooLarge, with(nats.Header{"Fanjet-Reason": {"too_large"}}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			given := maps.Clone(event)
			m := NewMessage(wire.NewNames("acme"), testEnvelope, tt.reason, 3, given, []byte("body"), "FANJET_RETRIES/9/17")
			if m.Subject != "acme.dlq.billing" {
				t.Errorf("subject = %q", m.Subject)
			}
			if !reflect.DeepEqual(m.Header, tt.wantHeader) {
				t.Errorf("headers = %v\nwant      %v", m.Header, tt.wantHeader)
			}
			if string(m.Data) != tt.wantData {
				t.Errorf("data = %q, want %q", m.Data, tt.wantData)
			}
			if !reflect.DeepEqual(given, event) {
				t.Errorf("the caller's headers were changed: %v", given)
			}
		})
	}
}

// TestLetterJSON pins the names that outside tools rely on.
func TestLetterJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	m := NewMessage(f.names, testEnvelope, ReasonExhausted, 3, nats.Header{"X-Team": {"payments"}}, []byte(`{"a":1}`), "h")
	if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	l, err := f.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if since := time.Since(l.DeadLettered); since < 0 || since > time.Hour {
		t.Errorf("dead_lettered = %v", l.DeadLettered)
	}
	l.DeadLettered = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

	got, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	const common = `{"seq":1,"event_id":"msg_abc","key":"key","endpoint":"billing","subject":"events.orders.42.paid","source":"EVENTS/7",` +
		`"accepted":"2026-03-01T12:00:00.000000005Z","attempts":3,"generation":1,"first_attempt":"2026-03-01T12:00:01Z",` +
		`"last_attempt":"2026-03-01T13:00:00Z","last_status":503,"last_error":"503 Service Unavailable","reason":"exhausted",` +
		`"dead_lettered":"2026-03-02T00:00:00Z","size":7`
	if want := common + `,"headers":{"X-Team":["payments"]},"data":"eyJhIjoxfQ=="}`; string(got) != want {
		t.Errorf("JSON = %s\nwant   %s", got, want)
	}
	l.Headers, l.Data = nil, nil
	if got, err = json.Marshal(l); err != nil || string(got) != common+"}" {
		t.Errorf("JSON without the body = %s, %v\nwant   %s}", got, err, common)
	}
}
