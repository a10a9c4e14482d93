package wire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// FuzzHeaders takes any block of headers that a producer can have stored.
// What is left of it for a delivery steers nothing, can be published, and does
// not get into the envelope that is written beside it; whatever is read as an
// envelope is written and read the same.
func FuzzHeaders(f *testing.F) {
	for _, lines := range []string{
		"", "X-A: 1\r\nx-a: 2\r\n", "Nats-Msg-Id: 1\r\nnats-schedule: @every 1s\r\nFANJET-KEY: x\r\n", "X Y: 1\r\n: 2\r\nX[]: 3\r\n\xff: 4\r\n",
		"X-A: a\rNats-Rollup: all\r\n", "a\r\n", "Fanjet-Event-Id: i\r\nFanjet-Key: k\r\nFanjet-Endpoint: e\r\nFanjet-Subject: s\r\nFanjet-Source: S/1\r\n" +
			"Fanjet-Accepted: 2026-01-02T03:04:05.000000006Z\r\nFanjet-Attempt: 1\r\nFanjet-Last-Status: 500\r\nFanjet-Last-Error: a  b\r\n",
	} {
		f.Add([]byte("NATS/1.0\r\n" + lines + "\r\n"))
	}
	f.Add([]byte("NATS/1.0 503 No Responders\r\n\r\n"))
	f.Fuzz(func(t *testing.T, block []byte) {
		header, err := nats.DecodeHeadersMsg(block)
		if err != nil {
			return
		}
		left := EventHeaders(header)
		for name := range left {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "fanjet-") {
				t.Errorf("%q is left", name)
			}
		}
		envelope := Envelope{EventID: "i", Key: "k", Endpoint: "e", Subject: "s", Source: "S/1", Accepted: time.Unix(1, 0).UTC(), Attempt: 1}
		envelope.WriteTo(left)
		if got := sendHeaders(t, left); got != envelope {
			t.Errorf("%+v, not %+v", got, envelope)
		}
		if read, err := ReadEnvelope(header); err == nil {
			// A line of text is kept as such: what is no text may be replaced, once.
			read.LastError = headerValue(read.LastError)
			h := nats.Header{}
			read.WriteTo(h)
			again, err := ReadEnvelope(h)
			if err != nil || !again.Accepted.Equal(read.Accepted) || again.Attempt != read.Attempt || again.Key != read.Key ||
				again.EventID != read.EventID || again.Endpoint != read.Endpoint || again.LastError != read.LastError || again.LastStatus != read.LastStatus {
				t.Errorf("%+v, %v, not %+v", again, err, read)
			}
		}
	})
}

// sendHeaders publishes headers to itself, as far as the client library goes,
// and reads the envelope that arrives.
func sendHeaders(t *testing.T, h nats.Header) Envelope {
	t.Helper()
	var block strings.Builder
	block.WriteString("NATS/1.0\r\n")
	for name, values := range h {
		if !isHeaderName(name) {
			t.Errorf("%q cannot be published", name)
		}
		for _, value := range values {
			fmt.Fprintf(&block, "%s: %s\r\n", name, strings.NewReplacer("\r", " ", "\n", " ").Replace(value))
		}
	}
	got, err := nats.DecodeHeadersMsg([]byte(block.String() + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := ReadEnvelope(got)
	if err != nil {
		t.Error(err)
	}
	return envelope
}

// FuzzIdentity compares two events: their ids are the same if, and only if, what
// makes them is; no part of one can run into the next.
func FuzzIdentity(f *testing.F) {
	f.Add("a", "bc", "ab", "c", uint64(1), int64(2), uint64(12), int64(0))
	f.Add("", "a", "a", "", uint64(1), int64(23), uint64(12), int64(3))
	f.Add("EVENTS", "\x00\x00\x00\x00\x00\x00\x00\x01x", "EVENTS\x00\x00\x00\x00\x00\x00\x00\x01x", "", uint64(0), int64(0), uint64(0), int64(0))
	f.Fuzz(func(t *testing.T, a, b, c, d string, seqA uint64, storedA int64, seqB uint64, storedB int64) {
		check := func(what, one, other string, same bool) {
			t.Helper()
			if (one == other) != same {
				t.Errorf("%s: %s and %s of %q %q and %q %q", what, one, other, a, b, c, d)
			}
		}
		first := Position{Stream: a, Created: created, Sequence: seqA, Stored: time.Unix(0, storedA)}
		second := Position{Stream: c, Created: created, Sequence: seqB, Stored: time.Unix(0, storedB)}
		samePlace := a == c && seqA == seqB && storedA == storedB
		check("position", EventID(nil, nil, first, true), EventID(nil, nil, second, true), samePlace)
		check("key", Key(KindEvent, first, b), Key(KindEvent, second, d), samePlace && b == d)
		check("kinds", Key(KindEvent, first, b), Key(KindLetter, first, b), false)
		if a != "" && b != "" && c != "" && d != "" {
			cloud := func(source, id string) string {
				return EventID(nats.Header{"ce-source": {source}, "ce-id": {id}}, nil, first, false)
			}
			check("CloudEvents", cloud(a, b), cloud(c, d), a == c && b == d)
			message := func(stream, id string) string {
				return EventID(nats.Header{nats.MsgIdHdr: {id}}, nil, Position{Stream: stream}, false)
			}
			check("message ids", message(a, b), message(c, d), a == c && b == d)
			check("CloudEvents and message ids", cloud(a, b), message(a, b), false)
		}
		// Names of streams and endpoints have no slash.
		if !strings.Contains(a+b+c+d, "/") {
			check("fan-out", first.FanoutID(b), second.FanoutID(d), samePlace && b == d)
			check("hop", first.HopID(), second.HopID(), samePlace)
			check("hop and fan-out", first.HopID(), second.FanoutID(d), false)
		}
	})
}
