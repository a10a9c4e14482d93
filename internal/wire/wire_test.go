package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

var (
	created  = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	stored   = time.Date(2026, 1, 2, 3, 4, 6, 7, time.UTC)
	position = Position{Stream: "EVENTS", Created: created, Sequence: 42, Stored: stored}
)

// These values are stored in users' streams: another one is another identity.
func TestIdentityIsFixed(t *testing.T) {
	t.Parallel()
	cloud := nats.Header{"ce-source": {"/shop"}, "ce-id": {"A-1"}, nats.MsgIdHdr: {"order-1"}}
	for name, tt := range map[string]struct{ got, want string }{
		"hop":                 {position.HopID(), "EVENTS/42/1767323046000000007"},
		"fan-out":             {position.FanoutID("billing"), "EVENTS/42/1767323046000000007/billing"},
		"source":              {position.Source(), "EVENTS/42"},
		"key of an event":     {Key(KindEvent, position, "billing"), "4tcjgwm35ylrecvf64nh3mqtrj"},
		"key of a letter":     {Key(KindLetter, position, "billing"), "mlh2blw2ukfmal43rctcpnvkwi"},
		"CloudEvents":         {EventID(cloud, nil, position, false), "msg_vxlv5cnbluroc2zme5xlhcrjit"},
		"message id":          {EventID(nats.Header{nats.MsgIdHdr: {"order-1"}}, nil, position, false), "msg_nhjuk5mblvpglta3pq7mbytawo"},
		"position":            {EventID(nil, nil, position, false), "msg_kxrjtf57kwrezrnvr2m4zpn67w"},
		"position, if told":   {EventID(cloud, nil, position, true), "msg_kxrjtf57kwrezrnvr2m4zpn67w"},
		"CloudEvents in JSON": {EventID(nats.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}}, []byte(`{"source":"/shop","id":"A-1"}`), position, false), "msg_vxlv5cnbluroc2zme5xlhcrjit"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", name, tt.got, tt.want)
		}
	}
}

// However long the parts are, the digest is that of all of them, each after its
// length.
func TestDigestOfLongParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var d digest
		h := sha256.New()
		for _, size := range rapid.SliceOfN(rapid.IntRange(0, 300), 0, 6).Draw(t, "sizes") {
			part := strings.Repeat("x", size)
			d.text(part)
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
			h.Write([]byte(part))
		}
		if got, want := d.sum("p"), "p"+base32Lower.EncodeToString(h.Sum(nil))[:digestLen]; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func TestEventIDShape(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^msg_[a-z2-7]{26}$`)
	for _, h := range []nats.Header{
		nil,
		{nats.MsgIdHdr: {"a.b.c"}},
		{"ce-id": {"1"}}, // no source: not a CloudEvent
		{"Content-Type": {"application/cloudevents+json"}},
	} {
		if id := EventID(h, []byte("{"), position, false); !shape.MatchString(id) {
			t.Errorf("%v: %q", h, id)
		}
	}
}

// A stream that was deleted and created again, or that lost its tail, uses its
// sequences again: those are other events.
func TestSequenceIsNoIdentity(t *testing.T) {
	t.Parallel()
	again := position
	again.Created = created.Add(time.Hour)
	later := position
	later.Stored = stored.Add(time.Nanosecond)
	for name, other := range map[string]Position{"created again": again, "lost its tail": later} {
		if EventID(nil, nil, position, false) == EventID(nil, nil, other, false) {
			t.Errorf("%s: same event id", name)
		}
		if Key(KindEvent, position, "a") == Key(KindEvent, other, "a") {
			t.Errorf("%s: same key", name)
		}
	}
	if position.HopID() == later.HopID() {
		t.Error("lost its tail: same hop id")
	}
}

func TestDigestPartsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	sum := func(parts ...string) string {
		var d digest
		for _, part := range parts {
			d.text(part)
		}
		return d.sum("")
	}
	if sum("ab", "c") == sum("a", "bc") || sum("a") == sum("a", "") {
		t.Error("different parts, same digest")
	}
}

// What a producer must not be able to steer is not among the event's headers.
func TestEventHeadersDropsWhatSteers(t *testing.T) {
	t.Parallel()
	in := nats.Header{
		"Nats-Expected-Stream": {"OTHER"}, "Nats-Batch-Id": {"x"}, "Nats-Msg-Id": {"1"}, "nats-schedule": {"@every 1s"},
		"NATS-TTL": {"1s"}, "Nats-Schedule-Next": {"purge"}, "Fanjet-Attempt": {"99"}, "fanjet-endpoint": {"other"},
		"": {"1"}, "a b": {"1"}, "a:b": {"1"}, "a\rb": {"1"}, "X[1]": {"1"}, "h\u00e9": {"1"}, // other clients publish those
		"webhook-id": {"mine"}, "Content-Type": {"text/plain"}, "X-Nats-Like": {"1"}, "Nats": {"1"},
	}
	before := maps.Clone(in)
	out := EventHeaders(in)
	if got := strings.Join(slices.Sorted(maps.Keys(out)), " "); got != "Content-Type Nats X-Nats-Like webhook-id" {
		t.Errorf("kept %s", got)
	}
	out["New"] = []string{"1"}
	if !maps.EqualFunc(in, before, slices.Equal) {
		t.Error("the input was changed")
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	text, token := rapid.StringMatching(`[a-zA-Z0-9._/-]{1,40}`), rapid.StringMatching(`[a-zA-Z0-9_/-]{1,40}`)
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(1, 4e9).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	rapid.Check(t, func(t *rapid.T) {
		want := Envelope{
			EventID: text.Draw(t, "id"), Key: token.Draw(t, "key"), Endpoint: token.Draw(t, "endpoint"),
			Subject: text.Draw(t, "subject"), Source: text.Draw(t, "source"), Accepted: moment.Draw(t, "accepted"),
			Attempt: rapid.IntRange(1, 100).Draw(t, "attempt"), Generation: rapid.IntRange(0, 9).Draw(t, "generation"),
		}
		if rapid.Bool().Draw(t, "failed") {
			want.FirstAttempt, want.LastAttempt = moment.Draw(t, "first"), moment.Draw(t, "last")
			want.LastStatus = rapid.IntRange(0, 599).Draw(t, "status")
			want.LastError = text.Draw(t, "error")
		}
		h := nats.Header{}
		want.WriteTo(h)
		got, err := ReadEnvelope(h)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestReadEnvelopeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := nats.Header{}
	(&Envelope{EventID: "i", Key: "k", Endpoint: "e", Subject: "s", Source: "S/1", Accepted: stored, Attempt: 1}).WriteTo(h)
	for key, values := range map[string][]string{
		HeaderEventID:    {""},
		HeaderKey:        {"", "a.b", "a b", "*", ">", "ä", "a\tb"}, // it is a token of a subject
		HeaderEndpoint:   {"", "a.b", "a b", "*"},
		HeaderAttempt:    {"", "-1", "0", "one"},
		HeaderAccepted:   {"", "yesterday"},
		HeaderGeneration: {"x"},
		HeaderLastStatus: {"ok"},
	} {
		for _, value := range values {
			broken := maps.Clone(h)
			broken[key] = []string{value}
			if _, err := ReadEnvelope(broken); !errors.Is(err, ErrEnvelope) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %q: %v", key, value, err)
			}
		}
	}
}

func TestLastErrorIsOneBoundedLine(t *testing.T) {
	t.Parallel()
	h := nats.Header{}
	(&Envelope{LastError: "a\r\nNats-Rollup: all\x00" + strings.Repeat("é", 1000)}).WriteTo(h)
	got := h.Get(HeaderLastError)
	if strings.ContainsAny(got, "\r\n\x00") || len(got) > maxErrorLen {
		t.Errorf("%d bytes: %.60q", len(got), got)
	}
}

func FuzzReadEnvelope(f *testing.F) {
	f.Add("1", "2026-01-02T03:04:05Z", "0")
	f.Add("", "x", "-1")
	f.Fuzz(func(_ *testing.T, attempt, accepted, status string) {
		_, _ = ReadEnvelope(nats.Header{HeaderAttempt: {attempt}, HeaderAccepted: {accepted}, HeaderLastStatus: {status}})
	})
}

func FuzzEventID(f *testing.F) {
	f.Add("application/cloudevents+json", []byte(`{"source":"a","id":"b"}`), "")
	f.Fuzz(func(t *testing.T, contentType string, data []byte, id string) {
		h := nats.Header{"Content-Type": {contentType}, nats.MsgIdHdr: {id}}
		if a, b := EventID(h, data, position, false), EventID(h, data, position, false); a != b || len(a) != 30 {
			t.Errorf("%q and %q", a, b)
		}
	})
}
