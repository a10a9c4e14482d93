package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/subscriber/endpoint"
)

// hostileEvent is one that a producer can store, and what of it must arrive.
type hostileEvent struct {
	name    string
	subject string // default: events.h.<number>
	header  string // raw lines, each with its CR LF; or the whole block, if it begins with "NATS"
	body    string

	contentType string // default: application/octet-stream
	traceparent string
	also        http.Header
	shown       string // fanjet-subject; default: the subject
}

const (
	isJSON          = "application/json"
	noType          = "none" // there is no header
	goodTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	esc             = "\x1b]0;evil\x07\x1b[31m"
)

func hostileEvents() []hostileEvent {
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	events := []hostileEvent{
		{name: "empty", contentType: noType},
		{name: "empty, of a type", header: "content-type: text/x\r\ncontent-encoding: gzip\r\n", contentType: "text/x"},
		{name: "not JSON", body: `{"n": `},
		{name: "not UTF-8", body: "\xff\xfe{\x00}"},
		{name: "not UTF-8 in JSON", body: "{\"s\": \"\xff\"}", contentType: isJSON},
		{name: "NULs and escapes", body: "\x00\x00" + esc},
		{name: "10,000 levels", body: strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000), contentType: isJSON},
		{name: "10,000 levels that do not end", body: strings.Repeat(`{"a":[`, 10_000)},
		{name: "100,000 levels", body: strings.Repeat(`[`, 100_000) + strings.Repeat(`]`, 100_000)},
		{name: "a number beyond all", body: `{"n": 1e999999999, "m": -1e999999999, "k": 1e-999999999}`, contentType: isJSON},
		{name: "a long number", body: `{"n": ` + strings.Repeat("9", 200_000) + `}`, contentType: isJSON},
		{name: "integers of more than 63 bits", body: `{"n": 9223372036854775808, "m": 18446744073709551616}`, contentType: isJSON},
		{name: "a key twice", body: `{"n": 1, "n": 2000}`, contentType: isJSON},
		{name: "100,000 keys", body: "{" + strings.TrimSuffix(lines(60_000, `"k%d":1,`), ",") + "}", contentType: isJSON},
		{name: "a long string", body: `{"s": "` + strings.Repeat("x", 900_000) + `"}`, contentType: isJSON},
		{name: "a byte order mark", body: "\ufeff{}"},
		{name: "half of a surrogate", body: `{"s": "\ud800", "\udc00": 1}`, contentType: isJSON},

		{name: "1,000 headers", header: lines(1000, "X-Header-%d: value\r\n"), body: "headers"},
		{name: "1,000 values", header: strings.Repeat("X-Header: value\r\n", 1000), body: "values"},
		{name: "names that differ in case", header: "content-type: text/a\r\nContent-Type: text/b\r\nCONTENT-TYPE: text/c\r\nX-A: 1\r\nx-a: 2\r\n", body: "case", contentType: "text/b"},
		{name: "what belongs to the request", body: "request", header: "Host: evil.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close, webhook-id\r\n" +
			"Expect: 100-continue\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: X-Evil\r\nUser-Agent: evil\r\nCookie: evil=1\r\nAuthorization: Basic ZXZpbA==\r\nContent-Encoding: gzip\r\n", also: http.Header{"Content-Encoding": {"gzip"}}},
		{name: "encodings that are none", body: "{}", header: "CONTENT-ENCODING: gzip, \x01evil\r\n", contentType: isJSON},
		{name: "what says what a webhook is", body: "webhook", header: "webhook-id: msg_evil\r\nWebhook-Id: msg_evil\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,evil\r\n" +
			"fanjet-attempt: 77\r\nFanjet-Attempt: 77\r\nFANJET-SUBJECT: evil\r\nFanjet-Endpoint: b\r\nFanjet-Reason: rejected\r\nFanjet-Attempts: 5\r\nFanjet-Generation: 9\r\nFanjet-Key: evil\r\n"},
		{name: "what steers JetStream", body: "steer", header: "Nats-Pin-Id: evil\r\n" +
			"nats-expected-stream: OTHER\r\nNats-Rollup-X: all\r\nNats-Marker-Reason: MaxAge\r\nNats-Stream: EVIL\r\nNats-Sequence: 7\r\nStatus: 409\r\nDescription: Consumer Deleted\r\n"},
		{name: "baggage and tracestate", header: "traceparent: " + goodTraceparent + "\r\nbaggage: user=evil\r\ntracestate: a=1\r\ntracestate: b=2\r\n", body: "trace", traceparent: goodTraceparent, also: http.Header{"Tracestate": {"a=1,b=2"}}},
		{name: "a trace as another client spells it", header: "Traceparent: " + goodTraceparent + "\r\nTRACESTATE: evil\r\nBaggage: user=evil\r\n", body: "Trace", traceparent: goodTraceparent},
		{name: "tracestate alone", header: "tracestate: a=1\r\n", body: "state"},
		{name: "a wrong traceparent", header: "traceparent: 00-xyz\r\n", body: "wrong trace"},
		{name: "CR in a traceparent", header: "traceparent: " + goodTraceparent[:54] + "\rX-Evil: 1\r\n", body: "trace with CR"},
		{name: "CR in a value", header: "Content-Type: text/plain\rX-Evil: 1\r\nX-Note: a\rWebhook-Id: evil\r\n", body: "CR"},
		{name: "LF in a value", header: "X-Note: a\nWebhook-Id: evil\nHost: evil\r\n", body: "LF"},
		{name: "controls in a content type", header: "Content-Type: text/" + esc + "\x00\r\n", body: "controls"},
		{name: "a long content type", header: "Content-Type: text/plain; a=" + strings.Repeat("x", 10_000) + "\r\n", body: "long type"},
		{name: "an empty content type", header: "Content-Type: \r\n", body: "{}", contentType: isJSON},
		{name: "not UTF-8 in headers", header: "X-\xff: \xfe\r\nX-B: \xff\r\n", body: "bytes"},
		{name: "names that no client of ours publishes", header: "X Space: 1\r\nX[1]: 2\r\n\x01\x02: 3\r\n (): 4\r\nh\u00e9: 5\r\n", body: "names"},
		{name: "a name with CR", header: "X\rNats-Expected-Stream: OTHER\r\n", body: "name with CR"},
		{name: "an empty name", header: ": nobody\r\nX-A: 1\r\n", body: "no name"},
		{name: "a line without a colon", header: "Content-Type: text/lost\r\nno colon\r\n", body: "no colon"},
		{name: "headers that do not end", header: "NATS/1.0\r\nX-A: 1", body: "no end"},
		{name: "headers that are none", header: "NATS/1.0", body: "none"},
		{name: "a status", header: "NATS/1.0 409 Consumer Deleted\r\n\r\n", body: "status"},
		{name: "a long message id", header: "Nats-Msg-Id: " + strings.Repeat("i", 10_000) + "\r\n", body: "long id"},
		{name: "controls in a message id", header: "Nats-Msg-Id: a\x00" + esc + "\rX-Evil: 1\r\n", body: "id with controls"},
		{name: "a long CloudEvents id", header: "ce-id: " + strings.Repeat("i", 10_000) + "\r\nce-source: " + esc + "\r\n", body: "ce"},
		{
			name: "a CloudEvent of 10,000 levels", header: "Content-Type: application/cloudevents+json\r\n", body: `{"source": "a", "id": ` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
			contentType: "application/cloudevents+json",
		},

		{name: "a subject in UTF-8", subject: "events.h\u00e9llo.\u65e5\u672c.\U0001f600", body: "UTF-8"},
		{name: "a subject that is not UTF-8", subject: "events.\xff\xfe", body: "bytes in the subject"},
		{name: "a long subject", subject: "events." + strings.Repeat("x", 1000), body: "long subject"},
		{name: "200 tokens", subject: "events" + strings.Repeat(".t", 200), body: "tokens"},
		{name: "controls in a subject", subject: "events.\x1b[31m\x07\x01\u009b31m", body: "controls in the subject", shown: "events.?[31m??\u009b31m"},
		{name: "a subject like our own", subject: "events.fanjet.deliver.b.$JS.API", body: "like ours"},
	}
	for i := range events {
		e := &events[i]
		if e.subject == "" {
			e.subject = fmt.Sprintf("events.h.%d", i)
		}
		if e.shown == "" {
			e.shown = e.subject
		}
		if e.contentType == "" {
			e.contentType = "application/octet-stream"
		}
	}
	return events
}

// rawProducer publishes without a client library, which would not let through
// what other clients send.
type rawProducer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newRawProducer(t *testing.T, url string) *rawProducer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	p := &rawProducer{t: t, conn: conn, in: bufio.NewReader(conn)}
	p.send([]byte("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\nSUB answers 1\r\n"))
	return p
}

func (p *rawProducer) send(text []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(text); err != nil {
		p.t.Fatal(err)
	}
}

// publish publishes an event and waits until JetStream has acknowledged it.
func (p *rawProducer) publish(e *hostileEvent) {
	p.t.Helper()
	var b bytes.Buffer
	if e.header == "" {
		fmt.Fprintf(&b, "PUB %s answers %d\r\n%s\r\n", e.subject, len(e.body), e.body)
	} else {
		header := e.header
		if !strings.HasPrefix(header, "NATS") {
			header = "NATS/1.0\r\n" + header + "\r\n"
		}
		fmt.Fprintf(&b, "HPUB %s answers %d %d\r\n%s%s\r\n", e.subject, len(header), len(header)+len(e.body), header, e.body)
	}
	p.send(b.Bytes())
	for {
		line, err := p.in.ReadString('\n')
		switch {
		case err != nil:
			p.t.Fatalf("%s: %v", e.name, err)
		case strings.HasPrefix(line, "PING"):
			p.send([]byte("PONG\r\n"))
		case strings.HasPrefix(line, "-ERR"):
			p.t.Fatalf("%s: %s", e.name, line)
		case strings.HasPrefix(line, "MSG "), strings.HasPrefix(line, "HMSG "):
			answer, err := p.in.ReadString('\n')
			if err != nil || strings.Contains(answer, `"error"`) {
				p.t.Fatalf("%s: %s %s %v", e.name, line, answer, err)
			}
			return
		}
	}
}

// tap notes what requests look like on the way to a receiver.
type tap struct {
	next http.Handler
	mu   sync.Mutex
	seen []*http.Request
}

func (p *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Clone(r.Context()))
	p.mu.Unlock()
	p.next.ServeHTTP(w, r)
}

// requests returns those to an endpoint, by their subject.
func (p *tap) requests(endpoint string) map[string][]*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]*http.Request{}
	for _, r := range p.seen {
		if r.URL.Path == "/"+endpoint {
			subject := r.Header.Get("Fanjet-Subject")
			out[subject] = append(out[subject], r)
		}
	}
	return out
}

var webhookID = regexp.MustCompile(`^msg_[a-z2-7]{26}$`)

// Whatever a producer stores as an event is delivered as it is, from its first
// attempt to a replay, and none of it steers the delivery or gets into the
// request.
func TestHostileEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := &tap{next: w.hook}
	w.hook.server.Config.Handler = watch
	w.cfg.Endpoints = append(w.cfg.Endpoints, endpointFor(t, w.hook, "b", func(ep *endpoint.Settings) { ep.DeadLetterOn = []int{422} }), endpointFor(t, w.hook, "c"))
	w.cfg.Subscriptions = append(w.cfg.Subscriptions,
		match.Subscription{Name: "dies", Subjects: []string{"events.>"}, Endpoints: []string{"b"}},
		match.Subscription{Name: "never", Subjects: []string{"events.>"}, Filter: `data.never == "never" || headers["Never"] == "never" || tokens.size() > 1000`, Endpoints: []string{"c"}},
	)
	w.hook.set(func(r request) int {
		if r.endpoint == "b" {
			return 422
		}
		return 200
	})
	w.start()
	events := hostileEvents()
	producer := newRawProducer(t, w.nats.URL())
	for i := range events {
		producer.publish(&events[i])
	}
	w.delivered("a", len(events))
	letters := w.letters(len(events))
	w.quiet()
	if n := len(w.hook.got("a")); n != len(events) {
		t.Errorf("%d deliveries of %d events", n, len(events))
	}
	if n := len(watch.requests("c")); n != 0 {
		t.Errorf("%d events matched what they do not have", n)
	}
	bodies := map[string]string{}
	for _, r := range w.hook.got("a") {
		bodies[r.id] = r.body
	}
	requests := watch.requests("a")
	for _, e := range events {
		got := requests[e.shown]
		if len(got) != 1 {
			t.Errorf("%s: %d requests", e.name, len(got))
			continue
		}
		checkHostile(t, &e, got[0], w.hook.server.Listener.Addr().String())
		id := got[0].Header.Get("Webhook-Id")
		if bodies[id] != e.body {
			t.Errorf("%s: another body of %d bytes", e.name, len(bodies[id]))
		}
		i := slices.IndexFunc(letters, func(l dlq.Letter) bool { return l.EventID == id })
		if i < 0 {
			t.Errorf("%s: no dead letter of %s", e.name, id)
			continue
		}
		checkHostileLetter(t, &e, &letters[i])
	}

	// Replayed, they are what they were.
	w.hook.set(nil)
	outcome, err := w.queue().Replay(t.Context(), dlq.Filter{}, dlq.ReplayOptions{})
	if err != nil || outcome.Done != len(events) {
		t.Fatalf("%+v, %v", outcome, err)
	}
	for _, r := range w.delivered("b", len(events)) {
		if body, ok := bodies[r.id]; !ok || body != r.body {
			t.Errorf("%s came back with %d bytes, not %d", r.id, len(r.body), len(body))
		}
	}
	w.quiet()
	if err := w.gw.Ready(); err != nil {
		t.Error(err)
	}
}

// checkHostile checks that a request has what it must have and nothing else.
func checkHostile(t *testing.T, e *hostileEvent, r *http.Request, host string) {
	t.Helper()
	want := http.Header{
		"Content-Type": {e.contentType}, "User-Agent": {"Fanjet/test"}, "Fanjet-Subject": {e.shown}, "Fanjet-Attempt": {"1"},
		"Content-Length": {fmt.Sprint(len(e.body))},
	}
	if e.contentType == noType {
		want.Del("Content-Type")
	}
	maps.Copy(want, e.also)
	if e.traceparent != "" {
		want.Set("Traceparent", e.traceparent)
	}
	for name, values := range want {
		if got := r.Header[name]; !slices.Equal(got, values) {
			t.Errorf("%s: %s is %.200q, not %.200q", e.name, name, got, values)
		}
	}
	for name, values := range r.Header {
		switch {
		case len(values) != 1:
			t.Errorf("%s: %d times %s", e.name, len(values), name)
		case want[name] != nil, name == "Webhook-Timestamp", name == "Webhook-Signature": // which the receiver verifies
		case name == "Webhook-Id" && webhookID.MatchString(values[0]):
		default:
			t.Errorf("%s: %s: %.200q", e.name, name, values)
		}
	}
	if r.Host != host || r.ContentLength != int64(len(e.body)) || len(r.TransferEncoding) != 0 || r.Close || r.Trailer != nil {
		t.Errorf("%s: host %s, length %d, encoding %v", e.name, r.Host, r.ContentLength, r.TransferEncoding)
	}
}

// checkHostileLetter checks that nothing of an event looks like ours in its
// letter.
func checkHostileLetter(t *testing.T, e *hostileEvent, l *dlq.Letter) {
	t.Helper()
	if string(l.Data) != e.body || l.Subject != e.subject || l.Endpoint != "b" || l.Reason != dlq.ReasonRejected || l.Attempts != 1 || l.Generation != 0 || l.Problem != "" || l.LastStatus != 422 {
		l.Data = nil
		t.Errorf("%s: %+v", e.name, l)
	}
	for name, values := range l.Headers {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "fanjet-") {
			t.Errorf("%s: the letter has %s", e.name, name)
		}
		if strings.ContainsAny(strings.Join(values, ""), "\r\n") {
			t.Errorf("%s: the letter has a line break in %s", e.name, name)
		}
	}
	text, err := json.Marshal(l)
	if err != nil || bytes.ContainsAny(text, "\r\n\x1b") {
		t.Errorf("%s: %v, %.200q", e.name, err, text)
	}
}
