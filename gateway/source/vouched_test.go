package source

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// The cursor does not follow an ack floor that nobody can vouch for: neither the
// matcher, which saw less, nor the number of deliveries.
func TestCursorFollowsWhatIsVouchedFor(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	js := server.JetStream()
	bucket, err := js.CreateKeyValue(t.Context(), topology.StateBucket(wire.NewNames(""), 1))
	if err != nil {
		t.Fatal(err)
	}
	want := topology.MatchConsumer(wire.NewNames(""))
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 15 {
		if _, err := js.Publish(t.Context(), "events", nil); err != nil {
			t.Fatal(err)
		}
	}
	move := func(to uint64) {
		t.Helper()
		if err := topology.ReplaceConsumer(t.Context(), stream, want); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Conn().Request("$JS.API.CONSUMER.RESET.EVENTS."+want.Durable, fmt.Appendf(nil, `{"seq":%d}`, to), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	created := stream.CachedInfo().Created
	vouched := uint64(5)
	c := &cursor{js: js, state: bucket, stream: "EVENTS", want: want, vouched: func() uint64 { return vouched }}
	at := func(want uint64) {
		t.Helper()
		if _, err := c.advance(t.Context(), created); err != nil || c.at.Load() == nil || c.at.Load().Sequence != want {
			t.Fatalf("the cursor is at %+v, %v; want %d", c.at.Load(), err, want)
		}
	}
	move(6)
	at(5)
	move(12)
	at(5)
	vouched = 11
	at(11)
}
