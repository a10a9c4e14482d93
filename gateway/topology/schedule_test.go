package topology

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Retries stand on this: a schedule that was stored in an atomic batch fires at
// its time, to the fraction of a second, into the same stream, without its
// Nats-Msg-Id, and it survives a restart of the server.
func TestRetriesStreamSchedules(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			f := newTopologyFixture(t)
			f.mustEnsure()
			stream := f.names.RetriesStream()

			// Three schedules, out of order, that lie 300 ms apart.
			clock := f.stream(stream).TimeStamp
			lead := 700 * time.Millisecond
			at := []time.Time{clock.Add(lead + 600*time.Millisecond), clock.Add(lead), clock.Add(lead + 300*time.Millisecond)}
			batch := make([]*nats.Msg, len(at))
			for i := range at {
				batch[i] = &nats.Msg{
					Subject: f.names.RetrySubject("billing", fmt.Sprint("key", i)),
					Data:    []byte{byte(i)},
					Header: nats.Header{
						"Nats-Schedule":        {"@at " + at[i].UTC().Format(time.RFC3339Nano)},
						"Nats-Schedule-Target": {f.names.DueSubject("billing")},
						nats.MsgIdHdr:          {fmt.Sprint("id", i)},
						"Fanjet-Attempt":       {"2"},
					},
				}
			}
			if _, err := jetstreamext.PublishMsgBatch(ctx, f.js, batch); err != nil {
				t.Fatal(err)
			}
			if restart {
				f.server.Restart()
			}

			consumer := eventually(t, func() (jetstream.Consumer, error) {
				return f.js.Consumer(ctx, stream, f.names.DueConsumer())
			})
			var order []int
			for range at {
				msg, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
				if err != nil {
					t.Fatal(err)
				}
				i := int(msg.Data()[0])
				order = append(order, i)
				if msg.Subject() != "fanjet.due.billing" {
					t.Errorf("schedule %d fired to %s", i, msg.Subject())
				}
				if msg.Headers().Get("Fanjet-Attempt") != "2" || msg.Headers().Get(nats.MsgIdHdr) != "" {
					t.Errorf("headers of the fired message: %v", msg.Headers())
				}
				meta, err := msg.Metadata()
				if err != nil {
					t.Fatal(err)
				}
				if meta.Timestamp.Before(at[i]) {
					t.Errorf("schedule %d fired %v too early", i, at[i].Sub(meta.Timestamp))
				}
				if err := msg.DoubleAck(ctx); err != nil {
					t.Fatal(err)
				}
			}
			// After a slow restart all are overdue and fire at once.
			if want := []int{1, 2, 0}; !restart && !slices.Equal(order, want) {
				t.Errorf("fired in the order %v, want %v", order, want)
			}
			slices.Sort(order)
			if !slices.Equal(order, []int{0, 1, 2}) {
				t.Errorf("these fired: %v", order)
			}
			if got := f.stream(stream).State.Msgs; got != 0 {
				t.Errorf("%d messages are left: a schedule or an acked message stays", got)
			}
		})
	}
}

// eventually calls f until it succeeds, which takes a moment unless the code is
// broken.
func eventually[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	giveUp := time.After(2 * time.Minute)
	for {
		v, err := f()
		if err == nil {
			return v
		}
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatal(err)
		}
	}
}

// A second schedule of the same delivery replaces the first: one retry, not two.
func TestRetriesStreamKeepsOneSchedulePerDelivery(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	for range 2 {
		_, err := f.js.PublishMsg(t.Context(), &nats.Msg{
			Subject: f.names.RetrySubject("billing", "key"),
			Header: nats.Header{
				"Nats-Schedule":        {"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)},
				"Nats-Schedule-Target": {f.names.DueSubject("billing")},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := f.stream(f.names.RetriesStream()).State.Msgs; got != 1 {
		t.Errorf("%d schedules are stored, want 1", got)
	}
}
