package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/internal/broker"
	"fanjet/internal/natstest"
	"fanjet/internal/secret"
	"fanjet/internal/wire"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// request is a webhook that arrived.
type request struct {
	endpoint, id, subject string
	attempt               string
	body                  string
	at                    time.Time
}

// receiver is an HTTP receiver of all endpoints, at /ENDPOINT. It verifies
// every request with the Standard Webhooks library.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	verify *standard.Webhook

	mu       sync.Mutex
	requests []request
	accepted map[string][]request       // answered 2xx, by endpoint
	behave   func(request) int          // status to answer; nil: 200
	after    string                     // Retry-After of answers that are not 2xx
	hold     map[string]chan struct{}   // an endpoint answers once it is closed
	active   map[string]map[string]bool // ids being answered, by endpoint
	overlap  []request                  // of one id at one endpoint
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	verify, err := standard.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, verify: verify, accepted: map[string][]request{}, hold: map[string]chan struct{}{}, active: map[string]map[string]bool{}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // cut off
	}
	if err := r.verify.Verify(body, req.Header); err != nil {
		r.t.Errorf("signature: %v", err)
	}
	got := request{
		endpoint: strings.TrimPrefix(req.URL.Path, "/"), id: req.Header.Get("Webhook-Id"), subject: req.Header.Get("Fanjet-Subject"),
		attempt: req.Header.Get("Fanjet-Attempt"), body: string(body), at: time.Now(),
	}
	r.mu.Lock()
	r.requests = append(r.requests, got)
	if r.active[got.endpoint] == nil {
		r.active[got.endpoint] = map[string]bool{}
	}
	if r.active[got.endpoint][got.id] {
		r.overlap = append(r.overlap, got)
	}
	r.active[got.endpoint][got.id] = true
	status, hold, after := 200, r.hold[got.endpoint], r.after
	if r.behave != nil {
		status = r.behave(got)
	}
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
			status = 0
		}
	}
	r.mu.Lock()
	delete(r.active[got.endpoint], got.id)
	if status/100 == 2 {
		r.accepted[got.endpoint] = append(r.accepted[got.endpoint], got)
	}
	r.mu.Unlock()
	if status != 0 {
		if after != "" && status/100 != 2 {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
	}
}

func (r *receiver) set(behave func(request) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = behave
}

// block makes an endpoint wait until the returned function is called.
func (r *receiver) block(endpoint string) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, release := r.gate(endpoint)
	r.hold[endpoint] = c
	return release
}

// gate returns what an endpoint can be made to wait for, until release is called.
func (r *receiver) gate(endpoint string) (gate chan struct{}, release func()) {
	gate = make(chan struct{})
	release = sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.hold, endpoint)
		close(gate)
	})
	r.t.Cleanup(release)
	return gate, release
}

// blockAfter is block after n more requests.
func (r *receiver) blockAfter(endpoint string, n int) (release func()) {
	c, release := r.gate(endpoint)
	r.set(func(got request) int { // holds mu
		if got.endpoint == endpoint {
			if n--; n == 0 {
				r.hold[endpoint] = c
			}
		}
		return http.StatusOK
	})
	return release
}

func (r *receiver) got(endpoint string) []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.accepted[endpoint])
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// world is a NATS server, a receiver and a gateway.
type world struct {
	*testing.T
	nats *natstest.Server
	js   jetstream.JetStream
	hook *receiver
	cfg  *config.Config
	gw   *Gateway
	stop func() // stops the gateway and waits
}

func endpointFor(t testing.TB, hook *receiver, name string, change ...func(*endpoint.Settings)) endpoint.Settings {
	t.Helper()
	ep := endpoint.Default()
	ep.Name = name
	target, err := url.Parse(hook.server.URL + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	ep.URL = target
	ep.Secrets = []secret.Value{secret.New(hookSecret)}
	ep.Retry.Schedule = []time.Duration{20 * time.Millisecond, 30 * time.Millisecond}
	ep.Circuit.Failures = 0 // tests of circuits set their own
	for _, f := range change {
		f(&ep)
	}
	return ep
}

// newWorld makes everything but runs no gateway yet: its configuration has one
// endpoint "a" that gets all events.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, nats: natstest.Start(t, natstest.Options{Listen: true}), hook: newReceiver(t)}
	w.js = w.nats.JetStream()
	w.cfg = &config.Config{
		NATS:    broker.Settings{URL: w.nats.URL(), Prefix: wire.DefaultPrefix, Replicas: 1},
		Sources: []config.Source{{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour}},
		Admin:   config.Admin{Listen: "127.0.0.1:0"},
		Egress: egress.Policy{
			AllowHTTP: true, AllowCIDRs: []egress.AllowedNet{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}, Ports: []uint16{443},
		},
		Endpoints:     []endpoint.Settings{endpointFor(t, w.hook, "a")},
		Subscriptions: []match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: []string{"a"}}},
	}
	w.stop = func() {}
	t.Cleanup(func() { w.stop() })
	return w
}

// start runs a gateway with the configuration and waits until it is ready.
func (w *world) start() {
	w.Helper()
	w.gw, w.stop = w.run(5 * time.Second)
}

// run runs one more gateway.
func (w *world) run(grace time.Duration) (*Gateway, func()) {
	w.Helper()
	gw, err := New(Options{Config: w.cfg, Version: "test", Log: zaptest.NewLogger(w.T, zaptest.Level(zap.WarnLevel)), Registry: prometheus.NewRegistry(), Grace: grace})
	if err != nil {
		w.Fatal(err)
	}
	return gw, w.launch(gw)
}

// launch runs a gateway and waits until it is ready. What it returns stops it.
func (w *world) launch(gw *Gateway) (stop func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- gw.Run(ctx) }()
	select {
	case <-gw.Started():
	case err := <-ended:
		cancel()
		w.Fatalf("the gateway ended: %v", err)
	case <-time.After(2 * time.Minute):
		w.Fatalf("the gateway does not start: %v", gw.Ready())
	}
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("the gateway stopped with: %v", err)
		}
	})
}

// publish publishes an event and returns its sequence.
func (w *world) publish(subject, data string, header nats.Header) uint64 {
	w.Helper()
	ack, err := w.js.PublishMsg(w.Context(), &nats.Msg{Subject: subject, Data: []byte(data), Header: header})
	if err != nil {
		w.Fatal(err)
	}
	return ack.Sequence
}

// publishMany publishes numbered events.
func (w *world) publishMany(subject string, n int) {
	w.Helper()
	for i := range n {
		if _, err := w.js.PublishAsync(subject, fmt.Appendf(nil, `{"n":%d}`, i), jetstream.WithStallWait(2*time.Minute)); err != nil {
			w.Fatal(err)
		}
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(2 * time.Minute):
		w.Fatal("publishing takes too long")
	}
}

func (w *world) waitFor(what string, ok func() bool) {
	w.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			w.Fatalf("waited too long until %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// delivered waits until an endpoint has accepted n webhooks.
func (w *world) delivered(endpoint string, n int) []request {
	w.Helper()
	w.waitFor(fmt.Sprintf("%s has accepted %d webhooks", endpoint, n), func() bool { return len(w.hook.got(endpoint)) >= n })
	return w.hook.got(endpoint)
}

// letters waits until there are n dead letters.
func (w *world) letters(n int) []dlq.Letter {
	w.Helper()
	q := w.queue()
	w.waitFor(fmt.Sprintf("there are %d dead letters", n), func() bool {
		have, err := q.Count(w.Context(), dlq.Filter{})
		return err == nil && have >= n
	})
	var out []dlq.Letter
	for l, err := range q.List(w.Context(), dlq.Filter{}) {
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func (w *world) queue() *dlq.Queue {
	w.Helper()
	q, err := dlq.Open(w.Context(), w.js, w.gw.names)
	if err != nil {
		w.Fatal(err)
	}
	return q
}

// quiet waits until nothing is pending anywhere.
func (w *world) quiet() {
	w.Helper()
	names := w.gw.names
	for _, c := range [][2]string{
		{"EVENTS", names.MatchConsumer()}, {names.DeliveriesStream(), names.DeliverConsumer()}, {names.RetriesStream(), names.DueConsumer()},
	} {
		w.waitFor(c[1]+" has nothing pending", func() bool {
			consumer, err := w.js.Consumer(w.Context(), c[0], c[1])
			return err == nil && consumer.CachedInfo().NumAckPending == 0 && consumer.CachedInfo().NumPending == 0
		})
	}
	w.waitFor("no retry is scheduled", func() bool { return w.messages(names.RetriesStream()) == 0 })
}

// messages is how many a stream holds.
func (w *world) messages(stream string) uint64 {
	w.Helper()
	s, err := w.js.Stream(w.Context(), stream)
	if err != nil {
		w.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// checkNoOverlap fails if a delivery was in two attempts at once.
func (w *world) checkNoOverlap() {
	w.Helper()
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	for _, r := range w.hook.overlap {
		w.Errorf("%s was POSTed to %s twice at once", r.id, r.endpoint)
	}
}

// metric is the sum of a metric's series whose labels have the values.
func (w *world) metric(name string, values ...string) (sum float64) {
	w.Helper()
	families, err := w.gw.opts.Registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			has := 0
			for _, label := range series.GetLabel() {
				if slices.Contains(values, label.GetValue()) {
					has++
				}
			}
			if has == len(values) {
				sum += series.GetCounter().GetValue() + series.GetGauge().GetValue()
			}
		}
	}
	return sum
}
