package subscriber

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/intake"
	"fanjet/internal/natstest"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
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
	m := &intake.Message{Msg: &nats.Msg{Data: []byte("{}")}, Stream: names.DeliveriesStream(), Sequence: 7, Stored: time.Unix(1, 0)}
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
