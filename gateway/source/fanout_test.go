package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/intake"
	"fanjet/internal/natstest"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
)

// sent is a delivery whose answer the test decides.
type sent struct {
	stream, subject, id string
	header              nats.Header
	data                string
	published           func(error)
}

// answers is a publisher whose answers a test gives, in any order.
type answers struct {
	stream string
	sent   chan sent
	refuse error // what Enqueue returns instead of taking the message
	asked  chan struct{}
}

func (a answers) Enqueue(_ context.Context, msg *nats.Msg, done publish.Completion) error {
	if a.refuse != nil {
		select {
		case a.asked <- struct{}{}:
		default:
		}
		return a.refuse
	}
	a.sent <- sent{a.stream, msg.Subject, msg.Header.Get(nats.MsgIdHdr), msg.Header, string(msg.Data), done.Published}
	return nil
}

// letters takes dead letters, or fails.
type letters struct {
	mu     sync.Mutex
	fail   []error // of the calls to come; then they are taken
	wrote  []dlq.Reason
	called chan struct{}
}

func (l *letters) Write(_ context.Context, env wire.Envelope, reason dlq.Reason, _ int, _ nats.Header, _ []byte, hopID string) error {
	defer func() { l.called <- struct{}{} }()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fail) > 0 {
		err := l.fail[0]
		l.fail = l.fail[1:]
		return err
	}
	if !strings.Contains(hopID, env.Endpoint) || env.LastError == "" {
		return fmt.Errorf("a letter with the id %q and the error %q", hopID, env.LastError)
	}
	l.wrote = append(l.wrote, reason)
	return nil
}

// room is a matcher beside a real source, whose deliveries go to the test.
type room struct {
	*testing.T
	m       *Matcher
	js      jetstream.JetStream
	out     chan sent
	letters *letters
	laned   map[string]bool // endpoints with a lane; true: an ordered one
	held    chan string     // endpoints of whose lanes it heard
	stop    func()
}

func newRoom(t *testing.T, endpoints ...string) *room {
	t.Helper()
	return roomAt(t, natstest.Start(t, natstest.Options{}), endpoints...)
}

// roomAt is newRoom with a server.
func roomAt(t *testing.T, server *natstest.Server, endpoints ...string) *room {
	t.Helper()
	js := server.JetStream()
	names := wire.NewNames("")
	bucket, err := js.CreateKeyValue(t.Context(), topology.StateBucket(names, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []jetstream.StreamConfig{{Name: "EVENTS", Subjects: []string{"events.>"}}, topology.RetriesStream(names, 1)} {
		if _, err := js.CreateStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	matcher, err := match.New([]match.Subscription{{Name: "all", Subjects: []string{"events.>"}, Endpoints: endpoints}})
	if err != nil {
		t.Fatal(err)
	}
	var current atomic.Pointer[match.Matcher]
	current.Store(matcher)
	r := &room{T: t, js: js, out: make(chan sent, 64), laned: map[string]bool{}, held: make(chan string, 64), letters: &letters{called: make(chan struct{}, 64)}}
	r.m = New(Options{
		Source: config.Source{Stream: "EVENTS"}, Names: names, JetStream: js, Conn: server.Conn(), State: bucket, Match: &current,
		Deliveries: answers{stream: "log", sent: r.out}, Letters: r.letters,
		Lanes: &Routes{
			Route:     func(endpoint string) (laned, ordered bool) { ordered, laned = r.laned[endpoint]; return laned, ordered },
			Holds:     func(endpoint string) { r.held <- endpoint },
			Publisher: answers{stream: "lanes", sent: r.out}, InOrder: answers{stream: "in order", sent: r.out},
		},
		Report:  func(error) {},
		Metrics: NewMetrics(prometheus.NewRegistry(), []string{"EVENTS"}), ServerTime: time.Now, Log: zap.NewNop(),
	})
	return r
}

// start runs the matcher until the test ends, or stop is called.
func (r *room) start() {
	ctx, cancel := context.WithCancel(r.Context())
	over := make(chan error, 1)
	go func() { over <- r.m.Run(ctx, time.Second) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.Error(err)
		}
	})
	r.Cleanup(r.stop)
}

func (r *room) publish(body string) {
	r.Helper()
	if _, err := r.js.Publish(r.Context(), "events.x", []byte(body)); err != nil {
		r.Fatal(err)
	}
}

// next returns the next n deliveries that the matcher sends.
func (r *room) next(n int) (all []sent) {
	r.Helper()
	for range n {
		select {
		case d := <-r.out:
			all = append(all, d)
		case <-time.After(time.Minute):
			r.Fatalf("%d deliveries, want %d", len(all), n)
		}
	}
	return all
}

// floor returns up to where the server takes events for settled, once it has
// processed everything that the matcher said so far.
func (r *room) floor() uint64 {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if err := r.m.in.Flush(ctx); err != nil {
		r.Fatal(err)
	}
	floor, err := ackFloorOf(r.Context(), r.js, "EVENTS", r.m.cursor.want)
	if err != nil {
		r.Fatal(err)
	}
	return floor.Stream
}

// An event is acknowledged when all of its deliveries are stored, in whatever order
// JetStream says so. One that failed, whichever it is, makes the event come again,
// with the same ids.
func TestEventIsSettledByTheLastDelivery(t *testing.T) {
	t.Parallel()
	lost := errors.New("no answer")
	for name, tt := range map[string]struct {
		order []int // in which they are answered
		fail  int   // which answer is an error; -1: none
	}{
		"in order":             {[]int{0, 1, 2}, -1},
		"backwards":            {[]int{2, 1, 0}, -1},
		"the first one fails":  {[]int{0, 1, 2}, 0},
		"the middle one fails": {[]int{1, 2, 0}, 1},
		"the last one fails":   {[]int{2, 0, 1}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a", "b", "c")
			r.start()
			r.publish("one")
			first := r.next(3)
			for i, k := range tt.order {
				if held, floor := r.m.in.Held(), r.floor(); held != 1 || floor != 0 {
					t.Fatalf("after %d of 3 answers %d events are held, and those up to %d acknowledged; want 1, 0", i, held, floor)
				}
				var err error
				if i == tt.fail {
					err = lost
				}
				first[k].published(err)
			}
			if tt.fail < 0 {
				if held, floor := r.m.in.Held(), r.floor(); held != 0 || floor != 1 {
					t.Fatalf("%d events are held, and those up to %d acknowledged; want 0, 1", held, floor)
				}
				return
			}
			again := r.next(3)
			for i := range again {
				if again[i].id != first[i].id || again[i].id == "" || again[i].data != "one" {
					t.Errorf("%s comes again as %s with the body %q", first[i].id, again[i].id, again[i].data)
				}
				again[i].published(nil)
			}
			if floor := r.floor(); floor != 1 {
				t.Errorf("the event that came again is not acknowledged: %d", floor)
			}
		})
	}
}

// The ids of an event's deliveries differ, and are the same whoever fans it out:
// within their window JetStream takes each of them once.
func TestFanoutIDs(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a", "b")
	r.start()
	r.publish("one")
	r.publish("two")
	var ids []string
	for _, d := range r.next(4) {
		ids = append(ids, d.id)
		if d.header.Get(wire.HeaderEventID) == "" {
			t.Errorf("a delivery without the id of its event: %v", d.header)
		}
		d.published(nil)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 4 {
		t.Errorf("4 deliveries have the ids %v", ids)
	}
}

// Where a delivery goes: to the log, or to the lane of its endpoint; what a full
// lane does not take goes to the log, unless its order counts.
func TestWhereDeliveriesGo(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "log", "lane", "ordered")
	r.laned["lane"], r.laned["ordered"] = false, true
	r.start()
	r.publish("one")
	by := map[string]sent{}
	for _, d := range r.next(3) {
		by[d.stream] = d
	}
	names := r.m.names
	for stream, subject := range map[string]string{
		"log": names.DeliverSubject("log"), "lanes": names.LaneSubject("lane"), "in order": names.LaneSubject("ordered"),
	} {
		if by[stream].subject != subject {
			t.Errorf("to the %s goes %q, want %q", stream, by[stream].subject, subject)
		}
	}
	by["log"].published(nil)
	by["in order"].published(nil)
	if endpoint := <-r.held; endpoint != "ordered" {
		t.Errorf("the lane of %s holds something", endpoint)
	}
	by["lanes"].published(publish.ErrFull)
	instead := r.next(1)[0]
	if instead.stream != "log" || instead.subject != names.DeliverSubject("lane") || instead.id != by["lanes"].id {
		t.Errorf("what the lane did not take goes to %s as %s with the id %s", instead.stream, instead.subject, instead.id)
	}
	if floor := r.floor(); floor != 0 {
		t.Fatal("the event is acknowledged, and one of its deliveries is stored nowhere")
	}
	instead.published(nil)
	if floor := r.floor(); floor != 1 || len(r.held) != 0 {
		t.Errorf("acknowledged up to %d; %d more lanes hold something", floor, len(r.held))
	}
}

// A delivery that NATS refuses for what it is becomes a dead letter, and its event
// is settled when that is stored. One that fails for the moment does not.
func TestRefusedDeliveries(t *testing.T) {
	t.Parallel()
	tooLarge := &jetstream.APIError{Code: 400, ErrorCode: 10054, Description: "message size exceeds maximum allowed"}
	forbidden := nats.ErrBadSubject
	for name, tt := range map[string]struct {
		err    error
		fail   error // of the letter
		reason dlq.Reason
		again  bool // the event comes again
	}{
		"too large":                   {err: tooLarge, reason: dlq.ReasonTooLarge},
		"for another reason":          {err: forbidden, reason: dlq.ReasonUnpublishable},
		"and no letter is written":    {err: tooLarge, fail: errors.New("no answer"), again: true},
		"only for now":                {err: nats.ErrNoResponders, again: true},
		"because nobody knows":        {err: context.DeadlineExceeded, again: true},
		"because the stream is full":  {err: publish.ErrFull, again: true},
		"because it waited too long":  {err: publish.ErrStale, again: true},
		"because the publisher stops": {err: publish.ErrClosed, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a", "b")
			if tt.fail != nil {
				r.letters.fail = []error{tt.fail}
			}
			r.start()
			r.publish("one")
			both := r.next(2)
			both[0].published(tt.err)
			if tt.reason != "" || tt.fail != nil {
				<-r.letters.called
			}
			if floor := r.floor(); floor != 0 {
				t.Fatal("acknowledged while a delivery has no answer")
			}
			both[1].published(nil)
			if tt.again {
				n := 2
				if errors.Is(tt.err, publish.ErrStale) {
					n = 1 // the event is held: the other one is stored already
				}
				if again := r.next(n); again[0].id != both[0].id {
					t.Errorf("%s comes again as %s", both[0].id, again[0].id)
				}
				if len(r.letters.wrote) != 0 {
					t.Errorf("letters: %v", r.letters.wrote)
				}
				return
			}
			if err := r.m.in.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if floor := r.floor(); floor != 1 || !slices.Equal(r.letters.wrote, []dlq.Reason{tt.reason}) {
				t.Errorf("acknowledged up to %d, letters %v; want 1 and %s", floor, r.letters.wrote, tt.reason)
			}
		})
	}
}

// A letter that has no room, or that NATS refuses as well, is tried again, until it is
// stored or the matcher gives up. What failed for another reason comes again with its
// event.
func TestLetterIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail   []error
		giveUp time.Duration // 0: never
		tries  int
		stored bool
	}{
		"taken":            {nil, 0, 1, true},
		"no room, twice":   {[]error{publish.ErrFull, publish.ErrFull}, 0, 3, true},
		"refused":          {[]error{nats.ErrBadSubject}, 0, 2, true},
		"no answer":        {[]error{nats.ErrNoResponders}, 0, 1, false},
		"no room till end": {slices.Repeat([]error{publish.ErrFull}, 10), 12 * time.Second, 3, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.giveUp > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.giveUp)
					defer cancel()
				}
				l := &letters{called: make(chan struct{}, 64), fail: tt.fail}
				m := &Matcher{opts: Options{Letters: l, Metrics: NewMetrics(prometheus.NewRegistry(), nil)}, sampled: zap.NewNop()}
				f := &fanout{matcher: m, ctx: ctx, msg: &intake.Message{Msg: nats.NewMsg("events.x")}, pos: wire.Position{Stream: "EVENTS", Sequence: 1}}
				d := &fanoutDelivery{fanout: f, endpoint: "a"}
				if stored := d.deadLetter(nats.ErrBadSubject); stored != tt.stored || len(l.called) != tt.tries {
					t.Errorf("stored: %v after %d tries; want %v, %d", stored, len(l.called), tt.stored, tt.tries)
				}
			})
		})
	}
}

// What nobody wants is settled at once, and nothing of it is stored.
func TestEventThatNobodyWants(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	none, err := match.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	r.publish("one")
	first := r.next(1)[0]
	some := r.m.opts.Match.Swap(none)
	first.published(nil)
	r.publish("two")
	for floor := uint64(0); floor < 2; floor = r.floor() {
		continue // until it was received
	}
	r.m.opts.Match.Store(some)
	r.publish("three")
	if d := r.next(1)[0]; d.data != "three" {
		t.Errorf("%s is fanned out", d.data)
	} else {
		d.published(nil)
	}
}

// A publisher that takes nothing, because it is closing, settles nothing.
func TestPublisherThatTakesNothing(t *testing.T) {
	t.Parallel()
	r := newRoom(t, "a")
	asked := make(chan struct{}, 1)
	r.m.opts.Deliveries = answers{refuse: publish.ErrClosed, asked: asked}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- r.m.Run(ctx, time.Second) }()
	r.publish("one")
	<-asked
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if floor := r.floor(); floor != 0 {
		t.Errorf("acknowledged up to %d", floor)
	}
}

// At its end a matcher waits for the answers that are under way, but not for ever;
// what it cannot settle it gives back.
func TestMatcherStops(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint(answered), func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, "a")
			r.start()
			r.publish("one")
			d := r.next(1)[0]
			want := uint64(0)
			go func() {
				if answered {
					d.published(nil)
				}
			}()
			if answered {
				want = 1
			}
			r.stop()
			if floor := r.floor(); floor != want {
				t.Errorf("acknowledged up to %d, want %d", floor, want)
			}
			at := uint64(0)
			if p := r.m.cursor.at.Load(); p != nil {
				at = p.Sequence
			}
			if at != want {
				t.Errorf("the cursor is at %d, want %d", at, want)
			}
		})
	}
}
