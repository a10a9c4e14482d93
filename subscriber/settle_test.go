package subscriber

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/internal/intake"
	"fanjet/internal/natstest"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

// A schedule whose acknowledgement got lost is published again; if it has fired
// by then, its subject is free, and yet it must not fire a second time.
func TestScheduleThatFiredIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	names := wire.NewNames("")
	stream, err := s.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.RetriesStream(), Subjects: []string{names.RetrySubject("*", "*"), names.DueSubject("*")},
		Retention: jetstream.WorkQueuePolicy, AllowMsgSchedules: true, AllowAtomicPublish: true, AllowRollup: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := publish.New(publish.Options{Conn: s.Conn(), Stream: names.RetriesStream()})
	t.Cleanup(p.Close)
	d := &Dispatcher{opts: Options{Names: names, Retries: p}}
	m := received(&intake.Message{Msg: &nats.Msg{Data: []byte("{}")}, Stream: names.DeliveriesStream(), Sequence: 7, Stored: time.Unix(1, 0)})
	env := wire.Envelope{EventID: "msg_1", Key: "k", Endpoint: "a", Subject: "s", Source: "S/1", Accepted: time.Unix(1, 0), Attempt: 2}
	for range 2 {
		if err := p.Publish(t.Context(), d.scheduleOf(m, env, time.Now(), nil)); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(2 * time.Minute); ; {
			info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(names.AllSubjects()))
			if err != nil {
				t.Fatal(err)
			}
			if info.State.Subjects[names.DueSubject("a")] > 0 && len(info.State.Subjects) == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it did not fire: %v", info.State.Subjects)
			}
		}
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := info.State.Msgs; n != 1 {
		t.Errorf("%d deliveries are due", n)
	}
}

// Deliveries that stay pending because NATS does not take what they were to become do
// not have a line of the log each.
func TestPendingDeliveriesHaveFewLines(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(server.Close)
	core, logs := observer.New(zap.ErrorLevel)
	r := deliverWith(t, func(o *Options) {
		o.Log = zap.New(core)
		retries := publish.New(publish.Options{
			Conn: o.Conn, Stream: o.Names.RetriesStream(), Fresh: func(publish.Completion) bool { return false },
		})
		t.Cleanup(retries.Close)
		o.Retries = retries
	}, endpointAt(t, server.URL, func(e *endpoint.Settings) { e.Circuit.Failures = 0 }))
	const n = 30
	r.publish("a", n)
	r.waitFor("they came again", func() bool { return attempts.Load() >= 3*n })
	if n := logs.FilterMessage("delivery stays pending").Len(); n == 0 || n > 10 { // five a minute
		t.Errorf("%d lines", n)
	}
}
