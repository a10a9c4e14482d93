package source

import (
	"fmt"
	"testing"
	"time"

	"fanjet/gateway/topology"
)

// settle answers the next deliveries, which must be of the events from one on and up to
// another, and returns when the cursor has them.
func (r *room) settle(from, to int) {
	r.Helper()
	for i := from; i <= to; i++ {
		d := r.next(1)[0]
		if d.data != fmt.Sprint(i) {
			r.Fatalf("event %s is fanned out, want %d", d.data, i)
		}
		d.published(nil)
	}
	if floor := r.floor(); floor != uint64(to) {
		r.Fatalf("acknowledged up to %d, want %d", floor, to)
	}
	r.m.follow(r.Context(), *r.m.created.Load())
	if at := r.m.cursor.at.Load(); at == nil || at.Sequence != uint64(to) {
		r.Fatalf("the cursor is at %+v, want %d", at, to)
	}
}

func (r *room) numbered(from, to int) {
	r.Helper()
	for i := from; i <= to; i++ {
		r.publish(fmt.Sprint(i))
	}
}

// move does what `nats consumer reset` does.
func (r *room) move(to uint64) {
	r.Helper()
	if _, err := r.js.ResetConsumerToSequence(r.Context(), "EVENTS", r.m.cursor.want.Durable, to); err != nil {
		r.Fatal(err)
	}
}

// another is a matcher that comes after one that has ended.
func (r *room) another() *room {
	r.Helper()
	r.stop()
	next := *r
	next.m = New(r.m.opts)
	return &next
}

// Somebody moves the consumer of a source while no matcher runs: the next one begins
// behind the cursor.
func TestMovedWhileStopped(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ to, events int }{
		"over a backlog":       {8, 10},
		"over one event":       {5, 10},
		"to the end":           {11, 10},
		"past the end":         {50, 10},
		"past an end, no more": {50, 3},
		"backwards":            {2, 10},
		"to where it was":      {4, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a")
			r.start()
			r.numbered(1, 3)
			r.settle(1, 3)
			r = r.another()
			r.numbered(4, tt.events)
			r.move(uint64(tt.to))
			r.start()
			if tt.events == 3 {
				r.numbered(4, 4)
				tt.events = 4
			}
			r.settle(4, tt.events)
		})
	}
}

// Somebody moves the consumer of a matcher that has nothing to do. It is looked for
// twice, for once it may be another replica that is about to write the cursor.
func TestMovedWhileIdle(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	r.start()
	r.numbered(1, 3)
	r.settle(1, 3)
	created := *r.m.created.Load()
	look := func() {
		t.Helper()
		r.m.watch.looked = time.Time{}
		if err := r.m.watchConsumer(t.Context(), created); err != nil {
			t.Fatal(err)
		}
	}
	ackFloor := func() uint64 {
		t.Helper()
		floor, err := ackFloorOf(t.Context(), r.js, "EVENTS", r.m.cursor.want)
		if err != nil {
			t.Fatal(err)
		}
		return floor.Stream
	}
	r.m.watch.looked = time.Now().Add(time.Hour) // only this test looks
	look()
	look()
	if floor := ackFloor(); floor != 3 {
		t.Fatalf("a consumer that nobody moved is at %d", floor)
	}
	r.move(50)
	look()
	if floor := ackFloor(); floor != 49 {
		t.Fatalf("after one look the consumer is at %d", floor)
	}
	look()
	if floor := ackFloor(); floor != 3 {
		t.Fatalf("after two looks the consumer is at %d, want 3", floor)
	}
	r.numbered(4, 6)
	r.settle(4, 6)

	// Soon after that it waits before it does the same again.
	r.move(50)
	look()
	look()
	if floor := ackFloor(); floor != 49 {
		t.Fatalf("it went back twice in %v", returnPause)
	}
	r.m.watch.went = time.Now().Add(-2 * returnPause)
	look()
	look()
	if floor := ackFloor(); floor != 6 {
		t.Fatalf("the consumer is at %d, want 6", floor)
	}
	// What it cannot tell from progress it leaves alone.
	if err := topology.ReplaceConsumer(t.Context(), must(r.js.Stream(t.Context(), "EVENTS")), r.m.cursor.want); err != nil {
		t.Fatal(err)
	}
	r.numbered(7, 8)
	r.settle(7, 8)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
