package attempt

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"fanjet/internal/wire"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/webhook"

	"github.com/nats-io/nats.go"
)

// FuzzRequest makes the request for events with any headers, subject and body,
// and reads it as a receiver does: it is one request with the headers that we
// set, each once, and the event's body.
func FuzzRequest(f *testing.F) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	f.Add("text/plain", parent, "a=1,b@c=2", "gzip", "events.a", []byte(`{}`))
	f.Add("text/plain\r\nX-Evil: 1", "x", "a=1", "br, gzip", "events.\r\nHost: evil", []byte("POST / HTTP/1.1\r\n\r\n"))
	f.Add("a/b\n c", parent, "a=1\r\nX-Evil: 1", "gzip\r\nX-Evil: 1", "\x00\x7f\u009b\xff", []byte(nil))
	f.Add("a/b;"+strings.Repeat("x", 2000), parent, strings.Repeat("a=1,", 40), strings.Repeat("x,", 200), "", []byte(`"`))
	target := Target{Settings: endpoint.Default()}
	target.URL = &url.URL{Scheme: "http", Host: "example.com", Path: "/hook"}
	var err error
	if target.signer, err = webhook.NewSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"); err != nil {
		f.Fatal(err)
	}
	if target.sender, err = httpsend.New(sending(target.Settings, egress.New(loopback, egress.GuardOptions{}), "test", nil)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, contentType, traceparent, tracestate, encoding, subject string, body []byte) {
		x := target.sender.Begin(t.Context(), time.Unix(1, 0), body)
		defer target.sender.Finish(x, nil)
		env := wire.Envelope{EventID: "msg_a", Subject: subject, Attempt: 1}
		target.sign(x, time.Unix(1, 0), &env, nats.Header{
			"Content-type": {contentType}, "Traceparent": {traceparent}, "TRACESTATE": {tracestate, tracestate}, "content-encoding": {encoding}, "Baggage": {"a=b"},
		}, body)
		head, err := x.Head()
		if err != nil {
			t.Fatal(err)
		}
		wire := bufio.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(body)))
		r, err := http.ReadRequest(wire)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if _, more := wire.ReadByte(); err != nil || !bytes.Equal(got, body) || more != io.EOF || r.Host != "example.com" || r.RequestURI != "/hook" {
			t.Errorf("%q to %s of %s: %v, %v", got, r.RequestURI, r.Host, err, more)
		}
		for name, values := range r.Header {
			if len(values) != 1 {
				t.Errorf("%s: %q", name, values)
			}
		}
		if r.Header.Get("Tracestate") != "" && r.Header.Get("Traceparent") == "" || len(body) == 0 && r.Header.Get("Content-Encoding") != "" {
			t.Error(r.Header)
		}
		if r.Header.Get("Content-Type") == "" && len(body) == 0 {
			r.Header.Set("Content-Type", "x/y")
		}
		r.Header.Del("Traceparent")
		r.Header.Del("Tracestate")
		r.Header.Del("Content-Encoding")
		if names := strings.Join(slices.Sorted(maps.Keys(r.Header)), " "); names != "Content-Length Content-Type Fanjet-Attempt Fanjet-Subject User-Agent Webhook-Id Webhook-Signature Webhook-Timestamp" {
			t.Error(names)
		}
	})
}
