package subscriber

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fanjet/dlq"
	"fanjet/internal/jsapi"
	"fanjet/internal/natstest"
	"fanjet/internal/publish"
	"fanjet/internal/secret"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// running is a dispatcher at work over a real server.
type running struct {
	*testing.T
	*Dispatcher
	js    jetstream.JetStream
	stop  context.CancelFunc // begins the stop
	ended chan error         // what Run returned
	n     int                // deliveries that were published
}

// deliver runs a dispatcher for endpoints until the test ends.
func deliver(t *testing.T, endpoints ...endpoint.Settings) *running {
	t.Helper()
	return deliverWith(t, func(*Options) {}, endpoints...)
}

// deliverWith is deliver with other options.
func deliverWith(t *testing.T, change func(*Options), endpoints ...endpoint.Settings) *running {
	t.Helper()
	s := natstest.Start(t, natstest.Options{})
	js, names := s.JetStream(), wire.NewNames("")
	for _, c := range []jetstream.StreamConfig{
		{Name: names.DeliveriesStream(), Subjects: []string{names.DeliverSubject("*")}, AllowAtomicPublish: true},
		{
			Name: names.RetriesStream(), Subjects: []string{names.RetrySubject("*", "*"), names.DueSubject("*")},
			Retention: jetstream.WorkQueuePolicy, AllowMsgSchedules: true, AllowAtomicPublish: true, AllowRollup: true,
		},
		{Name: names.LanesStream(), Subjects: []string{names.LaneSubject("*")}, AllowAtomicPublish: true, AllowDirect: true},
		{Name: names.DeadLettersStream(), Subjects: []string{names.DeadLetterSubject("*")}, AllowAtomicPublish: true},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket()}); err != nil {
		t.Fatal(err)
	}
	state, err := jsapi.OpenBucket(t.Context(), js, names.StateBucket())
	if err != nil {
		t.Fatal(err)
	}
	publisher := func(stream string) *publish.Publisher {
		p := publish.New(publish.Options{Conn: s.Conn(), Stream: stream})
		t.Cleanup(p.Close)
		return p
	}
	options := Options{
		Conn: s.Conn(), JetStream: js, Names: names, State: state, Endpoints: endpoints, Egress: onLoopback,
		Consumers: testConsumers{js, names},
		Retries:   publisher(names.RetriesStream()), Lanes: publisher(names.LanesStream()),
		Letters:    &dlq.Writer{Names: names, Publisher: publisher(names.DeadLettersStream())},
		ServerTime: time.Now, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Registerer: prometheus.NewRegistry(),
	}
	change(&options)
	d, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{T: t, Dispatcher: d, js: js, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- d.Run(ctx, 5*time.Second); close(r.ended) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.ended; err != nil { // nil, when somebody has read it
			t.Errorf("Run() = %v", err)
		}
	})
	return r
}

// endpointAt is one with a URL.
func endpointAt(t *testing.T, rawURL string, change func(*endpoint.Settings)) endpoint.Settings {
	t.Helper()
	e := endpoint.Default()
	e.Name = "a"
	var err error
	if e.URL, err = url.Parse(rawURL); err != nil {
		t.Fatal(err)
	}
	e.Secrets = []secret.Value{secret.New(hookSecret)}
	change(&e)
	return e
}

// publish stores n more deliveries for an endpoint.
func (r *running) publish(endpoint string, n int) {
	r.Helper()
	for range n {
		r.n++
		env := wire.Envelope{
			EventID: fmt.Sprintf("msg_%d", r.n), Key: fmt.Sprintf("k%d", r.n), Endpoint: endpoint, Subject: "events.x",
			Source: fmt.Sprintf("EVENTS/%d", r.n), Accepted: time.Now(), Attempt: 1,
		}
		m := &nats.Msg{Subject: r.opts.Names.DeliverSubject(endpoint), Header: nats.Header{}, Data: []byte("{}")}
		env.WriteTo(m.Header)
		if _, err := r.js.PublishMsg(r.Context(), m); err != nil {
			r.Fatal(err)
		}
	}
}

func (r *running) waitFor(what string, ok func() bool) {
	r.Helper()
	for deadline := time.After(2 * time.Minute); !ok(); {
		select {
		case <-deadline:
			r.Fatalf("waited too long until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// A stop that meets a reload which removes an endpoint waits for it: until the
// reload has stopped the endpoint, the timer of that one goes on starting what
// waits for its rate limit.
func TestStopMeetsTheRemovalOfAnEndpoint(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	hook := hookAt(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	r := deliver(t, endpointAt(t, hook.URL, func(e *endpoint.Settings) { e.RateLimit = endpoint.Rate{Count: 2, Per: time.Second} }))
	e := r.endpoint("a")
	waiting := func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.timer == nil {
			return 0
		}
		return len(e.queue)
	}
	r.publish("a", 8)
	r.waitFor("some wait for a token", func() bool { return requests.Load() >= 2 && waiting() >= 3 })

	r.applying.Lock() // a reload: it has forgotten the endpoint, and not stopped it yet
	finish := sync.OnceFunc(func() {
		r.divertRemoved(e)
		r.applying.Unlock()
	})
	defer finish()
	r.endpoints.Store(&map[string]*member{})
	r.stop()
	r.waitFor("the timer has started what was held", func() bool { return waiting() == 0 })
	select {
	case err := <-r.ended:
		t.Fatalf("the stop did not wait for the reload: %v", err)
	default:
	}
	finish()
	if err := <-r.ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if err := r.Apply(nil, onLoopback); !errors.Is(err, ErrStopping) {
		t.Errorf("Apply() after the stop = %v", err)
	}
}

// What starts in the moment in which an endpoint is stopped is waited for, and
// finds a worker.
func TestStopWhileTimersRing(t *testing.T) {
	t.Parallel()
	hook := hookAt(t, func(http.ResponseWriter, *http.Request) {})
	for range 5 {
		r := deliver(t, endpointAt(t, hook.URL, func(e *endpoint.Settings) { e.RateLimit = endpoint.Rate{Count: 5000, Per: time.Second} }))
		r.publish("a", 50)
		r.waitFor("some are delivered", func() bool { return r.Statuses()[0].Delivered > 10 })
		ringing := make(chan struct{})
		e := r.endpoint("a")
		go func() {
			for {
				select {
				case <-ringing:
					return
				default:
					e.ring()
				}
			}
		}()
		r.stop()
		err := <-r.ended
		close(ringing)
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
		if s := e.status(time.Now()); s.InFlight != 0 || s.Held != 0 {
			t.Errorf("after the stop: %+v", s)
		}
	}
}
