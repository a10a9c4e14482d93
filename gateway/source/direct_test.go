package source

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fanjet/gateway/topology"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// desk makes direct deliveries as a test says.
type desk struct {
	offered chan *subscriber.Direct // those that it took
	secured chan *subscriber.Direct

	mu     sync.Mutex
	off    bool
	noRoom bool
	room   int
	hurry  []bool
	refuse map[string]subscriber.Why // by endpoint
	due    map[string]bool           // keys
	stall  chan struct{}             // what asks for room waits for it; nil: it does not
}

func (d *desk) TakesDirect() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.off
}

func (d *desk) Room(n int, hurry bool) bool {
	d.mu.Lock()
	stall := d.stall
	d.mu.Unlock()
	if stall != nil {
		<-stall
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hurry = append(d.hurry, hurry)
	if d.noRoom {
		return false
	}
	d.room += n
	return true
}

func (d *desk) Free(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room -= n
}

func (d *desk) Offer(endpoint string, x *subscriber.Direct) subscriber.Why {
	d.mu.Lock()
	why := d.refuse[endpoint]
	d.mu.Unlock()
	if why == subscriber.Taken {
		d.offered <- x
	}
	return why
}

func (d *desk) Secure(x *subscriber.Direct) { d.secured <- x }

func (d *desk) CameDue(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.due[key]
}

// set changes what the desk does.
func (d *desk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// direct has the matcher offer deliveries to a desk.
func (r *room) direct() *desk {
	d := &desk{offered: make(chan *subscriber.Direct, 1024), secured: make(chan *subscriber.Direct, 1<<16), refuse: map[string]subscriber.Why{}, due: map[string]bool{}}
	r.m.opts.Direct = d
	return d
}

// takes returns the next n deliveries that a desk was offered, by endpoint.
func (r *room) takes(d *desk, n int) map[string]*subscriber.Direct {
	r.Helper()
	all := map[string]*subscriber.Direct{}
	for range n {
		select {
		case x := <-d.offered:
			all[x.Owner.Envelope().Endpoint] = x
		case <-time.After(time.Minute):
			r.Fatalf("%d are offered, want %d", len(all), n)
		}
	}
	return all
}

// nothing checks that nothing is stored, or offered.
func (r *room) nothing(d *desk) {
	r.Helper()
	if len(r.out) > 0 || len(d.offered) > 0 {
		r.Errorf("%d are stored, %d offered", len(r.out), len(d.offered))
	}
}

// rests checks what is held of one source, and up to where its events are settled.
func (r *room) rests(d *desk, held int, floor uint64) {
	r.Helper()
	if got := r.floor(); got != floor || r.m.in.Held() != held {
		r.Errorf("settled up to %d with %d held, want %d with %d", got, r.m.in.Held(), floor, held)
	}
	if held == 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.room != 0 || r.m.held.count() != 0 {
			r.Errorf("room for %d is taken, %d events are held", d.room, r.m.held.count())
		}
	}
}

// An event is settled when the last of its deliveries is, made or stored.
func TestDirectEventIsSettledByTheLast(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a", "b", "c")
	d := r.direct()
	d.refuse["c"] = subscriber.WhyBusy
	r.start()
	r.publish("one")
	made, stored := r.takes(d, 2), r.next(1)[0]
	r.rests(d, 1, 0)
	made["a"].Owner.Settled(false)
	r.rests(d, 1, 0)
	stored.published(nil)
	r.rests(d, 1, 0)
	made["b"].Owner.WriteDown(subscriber.WhyMoved)
	last := r.next(1)[0]
	if want := made["b"].Owner.HopID(); last.id != want || last.stream != "log" || last.header.Get(wire.HeaderKey) != made["b"].Owner.Envelope().Key {
		t.Errorf("stored as %s in the %s, want %s", last.id, last.stream, want)
	}
	r.rests(d, 1, 0)
	last.published(nil)
	r.rests(d, 0, 1)
	for why, want := range map[subscriber.Why]float64{subscriber.WhyBusy: 1, subscriber.WhyMoved: 1, subscriber.WhyRoom: 0} {
		if got := testutil.ToFloat64(r.m.opts.Metrics.stored[why]); got != want {
			t.Errorf("%v are stored for the reason %s, want %v", got, why, want)
		}
	}
}

// What is for a lane is stored, and asks for no room; what follows on an ordered one
// hurries. Without room all is stored.
func TestWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a", "b")
	r.laned["b"] = true
	d := r.direct()
	r.start()
	r.publish("one")
	if s := r.next(1)[0]; s.stream != "in order" {
		t.Errorf("stored in the %s", s.stream)
	} else {
		s.published(nil)
	}
	r.takes(d, 1)["a"].Owner.Settled(false)
	r.rests(d, 0, 1)
	d.set(func() { d.noRoom = true })
	r.publish("two")
	for _, s := range r.next(2) {
		s.published(nil)
	}
	r.rests(d, 0, 2)
	r.nothing(d)
	if !slices.Equal(d.hurry, []bool{true, true}) {
		t.Errorf("in a hurry: %v", d.hurry)
	}
}

// Of an event that may have been handled before is stored what has no schedule, and of
// which none came due; whatever happened to the rest, nothing is offered.
func TestFanOutAgain(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "scheduled", "leased", "due", "came", "delivered")
	d := r.direct()
	created := r.marked(100)
	r.publish("one")
	key := func(endpoint string) string {
		msg, err := r.js.Stream(t.Context(), "EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		first, err := msg.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return wire.Key(wire.KindEvent, wire.Position{Stream: "EVENTS", Created: created, Sequence: 1, Stored: first.Time}, endpoint)
	}
	retries := func(subject, key string, schedule bool, target string) {
		t.Helper()
		h := nats.Header{wire.HeaderKey: {key}}
		if schedule {
			h[jetstream.ScheduleHeader] = []string{"@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)}
			h[wire.HeaderScheduleTarget] = []string{target}
		}
		if _, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: h}); err != nil {
			t.Fatal(err)
		}
	}
	for _, endpoint := range []string{"scheduled", "leased"} {
		retries(r.m.names.RetrySubject(endpoint, key(endpoint)), key(endpoint), true, r.m.names.DueSubject(endpoint))
	}
	retries(r.m.names.RetrySubject("delivered", "other"), "other", true, r.m.names.DueSubject("delivered"))
	retries(r.m.names.DueSubject("due"), "of another event", false, "")
	retries(r.m.names.DueSubject("due"), key("due"), false, "")
	d.due[key("came")] = true
	r.start()
	s := r.next(1)[0]
	if s.header.Get(wire.HeaderEndpoint) != "delivered" {
		t.Errorf("stored for %v", s.header)
	}
	r.rests(d, 1, 0)
	s.published(nil)
	r.rests(d, 0, 1)
	r.nothing(d)
	if n := testutil.ToFloat64(r.m.opts.Metrics.stored[subscriber.WhyAgain]); n != 1 {
		t.Errorf("%v were stored again", n)
	}
}

// marked writes a mark of the source, as of a matcher before.
func (r *room) marked(upto uint64) (created time.Time) {
	r.Helper()
	stream, err := r.js.Stream(r.Context(), "EVENTS")
	if err != nil {
		r.Fatal(err)
	}
	value, err := json.Marshal(wire.Mark{Created: stream.CachedInfo().Created, UpTo: upto, By: "another one"})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := r.m.opts.State.Put(r.Context(), wire.MarkKey("EVENTS"), value); err != nil {
		r.Fatal(err)
	}
	return stream.CachedInfo().Created
}

// Events up to the mark, or to the end of the stream when the matcher got its first one,
// may have been handled before; those behind are offered. Without any mark all are, if
// the consumer never sent anything.
func TestWhatIsFannedOutAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		upto   uint64 // mark; 0: there is none
		before bool   // the consumer handed something out before
		again  int    // how many of 5 events
	}{
		"no mark": {0, false, 0}, "no mark, but a consumer": {0, true, 5}, "some": {3, false, 3}, "all": {100, false, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a")
			d := r.direct()
			if tt.upto > 0 {
				r.marked(tt.upto)
			}
			for range 5 {
				r.publish("old")
			}
			if tt.before { // the one of a program that knows no mark
				stream, err := r.js.Stream(t.Context(), "EVENTS")
				if err != nil {
					t.Fatal(err)
				}
				c, err := topology.OpenConsumer(t.Context(), stream, topology.MatchConsumer(r.m.names))
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Fetch(1, jetstream.FetchPriorityGroup(topology.MatchGroup), jetstream.FetchMaxWait(10*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				for m := range got.Messages() {
					if err := m.Nak(); err != nil {
						t.Fatal(err)
					}
				}
			}
			r.start()
			stored := r.next(tt.again)
			r.takes(d, 5-tt.again)
			if n := testutil.ToFloat64(r.m.opts.Metrics.stored[subscriber.WhyAgain]); n != float64(len(stored)) {
				t.Errorf("%v counted", n)
			}
			r.publish("new")
			r.takes(d, 1)
			r.nothing(d)
		})
	}
}
