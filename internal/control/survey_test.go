package control

import (
	"strings"
	"testing"
	"time"

	"fanjet/internal/natstest"
	"fanjet/subscriber/endpoint"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What waits for an endpoint that was removed shows since when, and when it dies. So
// does one that only the gateways' configuration lacks. Of a known one an old entry
// says nothing. Who did not answer is in every view.
func TestRemovedEndpoints(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Options{})
	js := srv.JetStream()
	state, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: names.StateBucket()})
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{
		names.LanesStream(): names.LaneSubject("*"), names.RetriesStream(): names.RetrySubject("*", "*"), names.DeadLettersStream(): names.DeadLetterSubject("*"),
	} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, endpoint := range []string{"gone", "billing", "known"} {
		if _, err := state.PutString(t.Context(), "removed."+endpoint, "2026-01-01T00:00:00Z"); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), names.RetrySubject(endpoint, "key"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Delete(t.Context(), "removed.known"); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Connect().Subscribe(names.ControlEndpointsSubject(), func(m *nats.Msg) {
		parts, err := Parts(Replica{ID: "one"}, []endpoint.Status{{Endpoint: "known", State: endpoint.StateHealthy}}, 8<<10, Peer{"one", "a"}, Peer{"two", "b"})
		if err == nil {
			err = m.Respond(parts[0])
		}
		if err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	views, err := operatorAt(t, srv.Conn()).Endpoints(t.Context())
	if err != nil || len(views) != 3 {
		t.Fatalf("%+v, %v", views, err)
	}
	for _, v := range views {
		want := map[string]endpoint.State{"gone": StateRemoved, "billing": StateUnknown, "known": endpoint.StateHealthy}[v.Endpoint]
		waits := v.Endpoint != "known"
		if v.State != want || (v.Removed != nil) != waits || strings.Contains(v.Reason, "become dead letters at 20") != waits {
			t.Errorf("%+v", v)
		}
		if waits && (time.Since(v.Since) > time.Minute || v.Next.Sub(v.Since) != 10*time.Minute) {
			t.Errorf("%s waits since %v until %v", v.Endpoint, v.Since, v.Next)
		}
		if v.Gateways.String() != "1 of 2 gateways answered; not two on b" {
			t.Errorf("%s: %s", v.Endpoint, v.Gateways)
		}
	}
}
