package source

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// The cursor follows what was acknowledged after it was last looked: an event whose
// deliveries take long to be stored, and one whose acknowledgement the server had not
// processed. No other event has to come.
func TestCursorFollowsTheLastEvent(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	r.start()
	r.publish("one")
	d := r.next(1)[0]
	created := *r.m.created.Load()
	r.m.follow(t.Context(), created)
	if at := r.m.cursor.at.Load(); at != nil {
		t.Fatalf("the cursor is at %+v, and nothing is settled", at)
	}
	d.published(nil)
	for range 100 { // each asks the server
		r.m.follow(t.Context(), created)
		if at := r.m.cursor.at.Load(); at != nil && at.Sequence == 1 {
			return
		}
	}
	t.Fatal("the cursor stays behind the event")
}

// While the ack floor is behind what was acknowledged, it is looked at again.
func TestCursorWaitsForAcks(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	r.start()
	r.publish("one")
	r.publish("two")
	both := r.next(2)
	both[1].published(nil) // the floor is held by the first one
	r.floor()
	created := *r.m.created.Load()
	r.m.follow(t.Context(), created)
	if r.m.acked.Load() != 2 {
		t.Fatal("the cursor is said to have an event that it has not")
	}
	both[0].published(nil)
	if floor := r.floor(); floor != 2 {
		t.Fatalf("acknowledged up to %d", floor)
	}
	r.m.follow(t.Context(), created)
	if at := r.m.cursor.at.Load(); at == nil || at.Sequence != 2 {
		t.Fatalf("the cursor is at %+v", at)
	}
	r.m.follow(t.Context(), created)
}

// An event up to the cursor is acknowledged and fanned out no more. A cursor of another
// stream of the same name, or of one whose sequences went back, covers nothing.
func TestCursorCoversOnlyItsStream(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*progress)
		first  string // that is fanned out
	}{
		"as it is":                 {func(*progress) {}, "three"},
		"of a stream made anew":    {func(p *progress) { p.Created = p.Created.Add(-time.Hour) }, "one"},
		"before the event":         {func(p *progress) { p.Sequence-- }, "one"}, // stored at another time
		"of an event stored later": {func(p *progress) { p.Stored = p.Stored.Add(time.Hour) }, "one"},
		"past the end":             {func(p *progress) { p.Sequence = 50 }, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a")
			for _, body := range []string{"one", "two", "three"} {
				r.publish(body)
			}
			stream, err := r.js.Stream(t.Context(), "EVENTS")
			if err != nil {
				t.Fatal(err)
			}
			second, err := stream.GetMsg(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			p := progress{Created: stream.CachedInfo().Created, Sequence: 2, Stored: second.Time}
			tt.change(&p)
			if err := (&cursor{state: r.m.opts.State, stream: "EVENTS"}).store(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			r.start()
			d := r.next(1)[0]
			if d.data != tt.first {
				t.Errorf("the first event that is fanned out is %q, want %q", d.data, tt.first)
			}
			d.published(nil)
		})
	}
}

// What the cursor copies: an ack floor that is further than it is, of the consumer
// that the matcher itself would make, in the stream that its events come from.
func TestWhatTheCursorCopies(t *testing.T) {
	t.Parallel()
	want := topology.MatchConsumer(wire.NewNames(""))
	for name, tt := range map[string]struct {
		at      uint64 // of the cursor before
		acked   uint64
		created time.Duration                     // of the stream, since it was made in truth
		consume func(c *jetstream.ConsumerConfig) // how the consumer is
		want    uint64
		wrong   bool
	}{
		"forward":                     {at: 2, acked: 5, want: 5},
		"not backwards":               {at: 5, acked: 2, want: 5},
		"no stream of another time":   {at: 2, acked: 5, created: -time.Hour, want: 2},
		"no consumer of another kind": {at: 2, acked: 5, consume: func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy }, want: 2, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := natstest.Start(t, natstest.Options{}).JetStream()
			bucket, err := js.CreateKeyValue(t.Context(), topology.StateBucket(wire.NewNames(""), 1))
			if err != nil {
				t.Fatal(err)
			}
			stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}})
			if err != nil {
				t.Fatal(err)
			}
			config := want
			config.PriorityPolicy, config.PriorityGroups, config.PinnedTTL = jetstream.PriorityPolicyNone, nil, 0 // anybody may fetch
			if tt.consume != nil {
				tt.consume(&config)
			}
			consumer, err := stream.CreateConsumer(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				if _, err := js.Publish(t.Context(), "events", nil); err != nil {
					t.Fatal(err)
				}
			}
			batch, err := consumer.Fetch(int(tt.acked))
			if err != nil {
				t.Fatal(err)
			}
			for msg := range batch.Messages() {
				if err := msg.DoubleAck(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			checked := config
			if tt.consume != nil {
				checked = want
			}
			created := stream.CachedInfo().Created.Add(tt.created)
			c := &cursor{js: js, state: bucket, stream: "EVENTS", want: checked}
			if err := c.store(t.Context(), progress{Created: stream.CachedInfo().Created, Sequence: tt.at, Stored: time.Now()}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.advance(t.Context(), created); (err != nil) != tt.wrong {
				t.Errorf("advancing: %v", err)
			}
			if got := c.at.Load().Sequence; got != tt.want {
				t.Errorf("the cursor is at %d, want %d", got, tt.want)
			}
			// What is stored says the same.
			other := &cursor{js: js, state: bucket, stream: "EVENTS", want: checked}
			if err := other.load(t.Context()); err != nil || other.at.Load().Sequence != tt.want {
				t.Errorf("stored is %+v, %v; want %d", other.at.Load(), err, tt.want)
			}
		})
	}
}

// Two matchers write one cursor: the slower one finds what the other one wrote, and
// writes nothing.
func TestCursorThatSomebodyElseWrote(t *testing.T) {
	t.Parallel()
	js := natstest.Start(t, natstest.Options{}).JetStream()
	bucket, err := js.CreateKeyValue(t.Context(), topology.StateBucket(wire.NewNames(""), 1))
	if err != nil {
		t.Fatal(err)
	}
	created := time.Now().UTC()
	write := func(c *cursor, sequence uint64) {
		t.Helper()
		if err := c.store(t.Context(), progress{Created: created, Sequence: sequence}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(c *cursor, want uint64) {
		t.Helper()
		if got := c.at.Load(); got == nil || got.Sequence != want {
			t.Fatalf("the cursor is at %+v, want %d", got, want)
		}
	}
	one, other := &cursor{js: js, state: bucket, stream: "EVENTS"}, &cursor{js: js, state: bucket, stream: "EVENTS"}
	write(one, 5)
	write(other, 3) // it knows of none
	at(other, 5)
	write(other, 7)
	write(one, 6)
	at(one, 7)
	write(one, 8)
	if err := other.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	at(other, 8)
	write(other, 9)
	if err := bucket.Delete(t.Context(), wire.CursorKey("EVENTS")); err != nil {
		t.Fatal(err)
	}
	if err := other.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	at(other, 9) // deleted by hand: it is written again with the next event
	if err := other.load(t.Context()); err != nil || other.at.Load() != nil {
		t.Fatalf("a cursor that was deleted is loaded as %+v, %v", other.at.Load(), err)
	}
	write(other, 10)
	at(other, 10)

	if _, err := bucket.PutString(t.Context(), wire.CursorKey("EVENTS"), "{"); err != nil {
		t.Fatal(err)
	}
	if err := one.refresh(t.Context()); err == nil {
		t.Error("an unreadable cursor is taken")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := one.load(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// A replica that was faster may have written less: the slower one says that it has to
// look again, and then copies what is missing. No event has to come for that.
func TestCursorBehindAFasterReplica(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	r.start()
	r.numbered(1, 3)
	for _, d := range r.next(3) {
		d.published(nil)
	}
	if floor := r.floor(); floor != 3 {
		t.Fatalf("acknowledged up to %d", floor)
	}
	r.stop() // only this test writes the cursor from now on
	created := *r.m.created.Load()
	c := &cursor{js: r.js, state: r.m.opts.State, stream: "EVENTS", want: r.m.cursor.want} // it has not read what is stored
	if _, err := r.m.opts.State.Put(t.Context(), wire.CursorKey("EVENTS"), must(json.Marshal(progress{Created: created, Sequence: 1}))); err != nil {
		t.Fatal(err)
	}
	if done, err := c.advance(t.Context(), created); err != nil || done != 0 || c.at.Load().Sequence != 1 {
		t.Fatalf("beside a faster replica: %d, %v, at %+v; want 0, and the other's 1", done, err, c.at.Load())
	}
	if done, err := c.advance(t.Context(), created); err != nil || done != 3 || c.at.Load().Sequence != 3 {
		t.Fatalf("then: %d, %v, at %+v; want 3", done, err, c.at.Load())
	}
}
