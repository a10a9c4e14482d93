package dlq

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// TestPermissions does everything as a user who may do no more than
// docs/dead-letters.md says is needed.
func TestPermissions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{Adjust: func(o *server.Options) {
		o.NoAuthUser = "gateway"
		o.Users = []*server.User{
			{Username: "gateway", Password: "g"},
			{Username: "operator", Password: "o", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.STREAM.INFO.FANJET_DLQ", "$JS.API.DIRECT.GET.FANJET_DLQ",
					"$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.MSG.GET.EVENTS",
					"$JS.API.STREAM.INFO.FANJET_DELIVERIES", "fanjet.deliver.*",
					"$JS.API.STREAM.MSG.DELETE.FANJET_DLQ", "$JS.API.STREAM.MSG.GET.FANJET_DLQ",
					"$JS.API.STREAM.PURGE.FANJET_DLQ",
				}},
			}},
		}
	}})
	ack, err := f.js.Publish(t.Context(), "events.big", []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	event, err := f.Queue.stored(t.Context(), "EVENTS", ack.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	info, err := streamInfo(t.Context(), f.js, "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	at := wire.Position{Stream: "EVENTS", Created: info.Created, Sequence: ack.Sequence, Stored: event.Time}
	f.put(
		spec{reason: ReasonTooLarge, env: func(e *wire.Envelope) {
			e.Source, e.Key = at.Source(), wire.Key(wire.KindEvent, at, e.Endpoint)
		}},
		spec{}, spec{endpoint: "crm", reason: ReasonExpired}, spec{endpoint: "crm"},
	)

	js, err := jetstream.New(f.srv.Connect(nats.UserInfo("operator", "o")))
	if err != nil {
		t.Fatal(err)
	}
	operator, err := Open(t.Context(), js, f.names)
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := operator.Stats(t.Context(), Filter{}); err != nil || len(stats) != 4 {
		t.Errorf("Stats() = %+v, %v", stats, err)
	}
	if out, err := operator.Replay(t.Context(), Filter{Endpoint: "billing"}, ReplayOptions{}); err != nil || out.Done != 2 {
		t.Errorf("Replay() = %+v, %v, want 2 done", out, err)
	}
	if out, err := operator.Purge(t.Context(), Filter{Reason: ReasonExpired}, PurgeOptions{}); err != nil || out.Done != 1 {
		t.Errorf("Purge() = %+v, %v, want 1 done", out, err)
	}
	if out, err := operator.Purge(t.Context(), Filter{}, PurgeOptions{}); err != nil || out.Done != 1 {
		t.Errorf("Purge() = %+v, %v, want 1 done", out, err)
	}
	if f.letters() != 0 || f.deliveries() != 2 {
		t.Errorf("%d letters and %d deliveries, want none and 2", f.letters(), f.deliveries())
	}
}
