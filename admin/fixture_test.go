package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/audit"
	"fanjet/internal/control"
	"fanjet/internal/natstest"
	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var names = wire.NewNames("")

// tokens are one for each scope, whose text names it.
func tokens() []Token {
	var list []Token
	for _, scope := range []Scope{ScopeRead, ScopeOperate, ScopeAdmin} {
		list = append(list, Token{Name: "name-of-" + string(scope), Secret: secret.New(tokenOf(scope)), Scope: scope})
	}
	return list
}

func tokenOf(scope Scope) string { return "a-token-of-many-bytes-for-" + string(scope) }

// world is a listener and the installation that it acts on.
type world struct {
	t        *testing.T
	url      string
	server   *Server
	js       jetstream.JetStream
	registry *prometheus.Registry
	logs     *observer.ObservedLogs
	letters  int
}

// newWorld starts a NATS server with what a gateway makes on it, somebody who
// answers as a gateway whose endpoint billing is healthy, and a listener.
func newWorld(t *testing.T, settings Settings) *world {
	t.Helper()
	w := &world{t: t, js: natstest.Start(t, natstest.Options{}).JetStream()}
	for name, subjects := range map[string][]string{
		names.LanesStream():       {names.LaneSubject("*")},
		names.RetriesStream():     {names.RetrySubject("*", "*"), names.DueSubject("*")},
		names.DeadLettersStream(): {names.DeadLetterSubject("*")},
		names.DeliveriesStream():  {names.DeliverSubject("*")},
		names.AuditStream():       {names.AuditSubject("*", "*")},
	} {
		if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: subjects, AllowDirect: true, AllowAtomicPublish: true, DenyDelete: name == names.AuditStream(),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket()}); err != nil {
		t.Fatal(err)
	}
	state, err := control.OpenState(t.Context(), w.js, names)
	if err != nil {
		t.Fatal(err)
	}
	w.answer(names.ControlEndpointsSubject(), func(question string) string {
		if strings.Contains(question, "endpoints") && !strings.Contains(question, "billing") {
			return `{"replica": {"id": "one"}, "parts": 1, "endpoints": []}`
		}
		return `{"replica": {"id": "one"}, "parts": 1, "endpoints": [{"endpoint": "billing", "state": "healthy"}]}`
	})
	w.answer(names.ControlPingSubject("*"), func(string) string { return `{"class": "2xx", "status": 200}` })

	core, logs := observer.New(zapcore.DebugLevel)
	w.registry, w.logs = prometheus.NewRegistry(), logs
	w.server, err = New(Options{
		Settings: settings, Gatherer: w.registry, Registerer: w.registry, Ready: func() error { return nil }, Log: zap.New(core),
	})
	if err != nil {
		t.Fatal(err)
	}
	billing := endpoint.Default()
	billing.Name, billing.URL = "billing", &url.URL{Scheme: "https", Host: "billing.example.com", Path: "/secret-path"}
	operator := control.NewOperator(control.Options{
		JetStream: w.js, Names: names, State: state, Recorded: w.server.Recorded,
		Endpoints: func() []endpoint.Settings { return []endpoint.Settings{billing} },
	})
	letters, err := control.OpenLetters(t.Context(), operator)
	if err != nil {
		t.Fatal(err)
	}
	w.server.Attach(&Installation{Endpoints: operator, Letters: letters, Audit: audit.New(w.js, names)})
	w.url = serve(t, w.server)
	return w
}

// serve runs a listener until the end of the test, and returns its URL.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s.URL()
}

// answer answers the requests on a subject.
func (w *world) answer(subject string, answer func(question string) string) {
	w.t.Helper()
	nc := w.js.Conn()
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer(string(m.Data)))) }); err != nil {
		w.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// addLetters puts dead letters of an endpoint into the queue.
func (w *world) addLetters(n int, endpoint string) {
	w.t.Helper()
	for range n {
		w.letters++
		env := wire.Envelope{
			EventID: fmt.Sprintf("msg_%d", w.letters), Key: fmt.Sprintf("key%d", w.letters), Endpoint: endpoint, Subject: "events.paid",
			Source: "EVENTS/1", Accepted: time.Now(), Attempt: 2, LastStatus: 503,
		}
		m := dlq.NewMessage(names, env, dlq.ReasonExhausted, 1, nats.Header{"X-Event": {"canary-header"}}, []byte(`{"canary":"payload"}`), fmt.Sprintf("hop/%d", w.letters))
		if _, err := w.js.PublishMsg(w.t.Context(), m); err != nil {
			w.t.Fatal(err)
		}
	}
}

// records returns everything that was recorded, newest first.
func (w *world) records() []audit.Record {
	w.t.Helper()
	var found []audit.Record
	for r, err := range audit.New(w.js, names).List(w.t.Context(), audit.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		found = append(found, r)
	}
	return found
}

// count is how many messages a stream holds.
func (w *world) count(stream string) uint64 {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), stream)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// do makes a request; a token that is empty is left out, and so is a body.
func (w *world) do(method, path, token, body string, change ...func(*http.Request)) (*http.Response, string) {
	w.t.Helper()
	return request(w.t, http.DefaultTransport.(*http.Transport).Clone(), method, w.url+path, token, body, change...)
}

func request(t *testing.T, transport *http.Transport, method, url, token, body string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, c := range change {
		c(r)
	}
	transport.DisableKeepAlives = true
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// get decodes what a GET answers with.
func get[T any](w *world, path string, token string) T {
	w.t.Helper()
	resp, body := w.do("GET", path, token, "")
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s (%v)", path, resp.StatusCode, body, err)
	}
	return v
}
