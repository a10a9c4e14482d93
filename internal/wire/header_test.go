package wire

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"
)

func TestHeaderIsFoundInAnySpelling(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		h    nats.Header
		want []string
	}{
		{"Content-Type", nil, nil},
		{"Content-Type", nats.Header{"X": {"a"}}, nil},
		{"Content-Type", nats.Header{"Content-Type": {"a", "b"}}, []string{"a", "b"}},
		{"Content-Type", nats.Header{"Content-type": {"a"}}, []string{"a"}},
		{"Content-Type", nats.Header{"CONTENT-TYPE": {"a"}}, []string{"a"}},
		{"traceparent", nats.Header{"Traceparent": {"a"}}, []string{"a"}},
		{"traceparent", nats.Header{"tRACEPARENT": {"a"}, "Trace-Parent": {"b"}}, []string{"a"}},

		// The spelling that is asked for goes first, then the first in byte order.
		{"traceparent", nats.Header{"Traceparent": {"a"}, "traceparent": {"b"}, "TRACEPARENT": {"c"}}, []string{"b"}},
		{"Traceparent", nats.Header{"Traceparent": {"a"}, "traceparent": {"b"}, "TRACEPARENT": {"c"}}, []string{"a"}},
		{"TraceParent", nats.Header{"Traceparent": {"a"}, "traceparent": {"b"}, "TRACEPARENT": {"c"}}, []string{"c"}},

		// What is empty does not hide what is not.
		{"ce-id", nats.Header{"ce-id": {""}, "Ce-Id": {"a"}, "CE-ID": {""}}, []string{"a"}},
		{"ce-id", nats.Header{"ce-id": {}, "Ce-Id": {"a"}, "CE-ID": nil}, []string{"a"}},
		{"ce-id", nats.Header{"ce-id": {""}, "CE-ID": {""}}, []string{""}},
		{"ce-id", nats.Header{"ce-ID": {""}, "CE-ID": {"", "x"}}, []string{"", "x"}},
		{"ce-id", nats.Header{"ce-id": {"", "x"}, "CE-ID": {"a"}}, []string{"a"}},
		{"ce-id", nats.Header{"ce-id": {"", "x"}, "CE-ID": {""}}, []string{"", "x"}},
		{"", nats.Header{"ce-id": {"a"}}, nil},
		{"kéy", nats.Header{"KÉY": {"a"}, "\u212aéy": {"b"}}, nil}, // names are ASCII
	} {
		for range 20 { // the order of a map differs
			if got := Header(tt.h, tt.name); !slices.Equal(got, tt.want) {
				t.Fatalf("%s of %q: %q, want %q", tt.name, tt.h, got, tt.want)
			}
			if got := IndexHeaders(tt.h).Header(tt.name); !slices.Equal(got, tt.want) {
				t.Fatalf("%s of %q by the index: %q, want %q", tt.name, tt.h, got, tt.want)
			}
		}
	}
}

// What is found is one of the spellings, never depends on the order of the map,
// and is what identities have been made of since the first version.
func TestHeaderOfManySpellings(t *testing.T) {
	t.Parallel()
	letters := rapid.SampledFrom([]string{"ce-id", "Ce-Id", "CE-ID", "cE-iD", "ce-iD", "ce-idx", "ceid"})
	values := rapid.SliceOfN(rapid.SampledFrom([]string{"", "1", "2"}), 0, 2)
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.MapOf(letters, values).Draw(t, "header")
		want := ""
		if v := h["ce-id"]; len(v) > 0 {
			want = v[0]
		}
		for _, k := range slices.Sorted(maps.Keys(h)) {
			if want == "" && len(h[k]) > 0 && strings.EqualFold(k, "ce-id") {
				want = h[k][0]
			}
		}
		if got := HeaderValue(h, "ce-id"); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		name := letters.Draw(t, "name")
		if a, b := Header(h, name), IndexHeaders(h).Header(name); !slices.Equal(a, b) {
			t.Fatalf("%s: %q, by the index %q", name, a, b)
		}
	})
}

func TestHeaderCostsNoMemory(t *testing.T) {
	h := nats.Header{
		"Fanjet-Event-Id": {"a"}, "Fanjet-Key": {"a"}, "Fanjet-Endpoint": {"a"}, "Fanjet-Subject": {"a"}, "Fanjet-Source": {"a"},
		"CONTENT-TYPE": {"text/plain"}, "Traceparent": {"a"}, "X-Tenant": {"a"},
	}
	if n := testing.AllocsPerRun(100, func() {
		if HeaderValue(h, "Content-Type") == "" || HeaderValue(h, "traceparent") == "" || HeaderValue(h, "tracestate") != "" {
			t.Error("found the wrong ones")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// These identities are in streams of users, and in receivers' tables of what they
// have handled.
func TestIdentityOfSpellingsStays(t *testing.T) {
	t.Parallel()
	at := Position{Stream: "EVENTS", Created: time.Unix(1, 0), Sequence: 7, Stored: time.Unix(2, 0)}
	position := EventID(nil, nil, at, false)
	for _, tt := range []struct {
		h    nats.Header
		want string
	}{
		{nats.Header{"ce-source": {"/s"}, "ce-id": {"1"}}, eventID("cloudevents", "/s", "1")},
		{nats.Header{"Ce-Source": {"/s"}, "CE-ID": {"1"}}, eventID("cloudevents", "/s", "1")},
		{nats.Header{"Ce-Id": {"2"}, "CE-ID": {"1"}, "ce-source": {"/s"}}, eventID("cloudevents", "/s", "1")},
		{nats.Header{"ce-id": {"3"}, "CE-ID": {"1"}, "ce-source": {"/s"}}, eventID("cloudevents", "/s", "3")},
		{nats.Header{"Nats-Msg-Id": {"m"}, "CE-ID": {"1"}}, eventID("msg-id", "EVENTS", "m")},
		// The server takes no other spelling for the id of a message.
		{nats.Header{"nats-msg-id": {"m"}}, position},
		{nats.Header{"Nats-Msg-Id": {""}, "NATS-MSG-ID": {"m"}}, position},
	} {
		if got := EventID(tt.h, nil, at, false); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.h, got, tt.want)
		}
	}
}
