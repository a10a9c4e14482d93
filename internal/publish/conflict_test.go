package publish

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

const expectSubject = jetstream.ExpectedLastSubjSeqHeader

// schedule is a message as the stream of the retries has them; expect, if not empty, is
// the last sequence of its subject.
func schedule(key, body, id, expect string) *nats.Msg {
	m := &nats.Msg{Subject: "s." + key, Data: []byte(body), Header: nats.Header{}}
	m.Header.Set(jetstream.ScheduleHeader, "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano))
	m.Header.Set(jetstream.ScheduleTargetHeader, "due.e")
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	if expect != "" {
		m.Header.Set(expectSubject, expect)
	}
	return m
}

// retries is a stream that is set up as that of the retries.
func retries(t *testing.T, js jetstream.JetStream, replicas int) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s.*", "due.*"}, Retention: jetstream.WorkQueuePolicy, Replicas: replicas,
		AllowRollup: true, AllowAtomicPublish: true, AllowMsgSchedules: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// together sends messages that fill a batch, and returns the outcome of each.
func together(p *Publisher, msgs ...*nats.Msg) []error {
	items, outcomes := make([]item, len(msgs)), make([]waiter, len(msgs))
	for i, m := range msgs {
		outcomes[i] = make(waiter, 1)
		items[i] = item{msg: m, size: m.Size(), done: outcomes[i]}
	}
	p.send(items)
	errs := make([]error, len(msgs))
	for i, o := range outcomes {
		errs[i] = <-o
	}
	return errs
}

// worlds are a server without a cluster, and a cluster: they look at the expectation
// and the id of a message in another order.
var worlds = map[string]func(*testing.T) (*nats.Conn, jetstream.Stream){
	"one server": func(t *testing.T) (*nats.Conn, jetstream.Stream) {
		s := natstest.Start(t, natstest.Options{})
		return s.Conn(), retries(t, s.JetStream(), 1)
	},
	"cluster": func(t *testing.T) (*nats.Conn, jetstream.Stream) {
		c := natstest.StartCluster(t)
		return c.Connect(), retries(t, c.JetStream(), 3)
	},
}

// paces make the publisher choose.
var paces = map[string]pace{
	"batches": known(time.Hour, time.Microsecond),
	"singles": known(time.Microsecond, time.Hour),
}

// What expects another sequence than there is is told so, and takes nothing with it;
// what is known already is stored, whatever it expects.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for world, begin := range worlds {
		t.Run(world, func(t *testing.T) {
			t.Parallel()
			nc, stream := begin(t)
			for name, pace := range paces {
				for _, inOrder := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, in order %v", name, inOrder), func(t *testing.T) {
						if err := stream.Purge(t.Context()); err != nil {
							t.Fatal(err)
						}
						conflicts(t, Options{Conn: nc, Stream: "S", InOrder: inOrder}, pace, stream)
					})
				}
			}
		})
	}
}

func conflicts(t *testing.T, o Options, pace pace, stream jetstream.Stream) {
	var mu sync.Mutex
	told := 0
	o.Known = func(Completion) {
		mu.Lock()
		defer mu.Unlock()
		told++
	}
	p := New(o)
	p.pace = pace
	t.Cleanup(p.Close)
	id := func(name string) string { return t.Name() + name }

	if errs := together(p, schedule("a", "a", id("a"), "0"), schedule("b", "b", id("b"), "0")); errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	errs := together(p,
		schedule("new", "new", id("new"), "0"),
		schedule("a", "conflict", id("other"), "0"),
		schedule("b", "known", id("b"), "0"),
		schedule("newer", "newer", id("newer"), ""),
		schedule("b", "without id", "", "0"),
		schedule("none", "gone", id("gone"), "1"),
		schedule("newest", "newest", id("newest"), "0"),
		schedule("newest", "second of its subject", id("second"), "0"),
	)
	for i, err := range errs {
		wrong := slices.Contains([]int{1, 4, 5, 7}, i)
		if IsConflict(err) != wrong || IsRefused(err) || !wrong && err != nil {
			t.Errorf("message %d: %v, want a conflict: %v", i, err, wrong)
		}
	}
	got := bodies(t, stream)
	slices.Sort(got)
	if got := strings.Join(got, " "); got != "a b new newer newest" {
		t.Errorf("stored %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if told != 1 {
		t.Errorf("%d messages were told of as known, want 1", told)
	}
}

// Conflicts leave no batches behind that the server would count: it takes 50, for ten
// seconds. What gets through in the end replaces what it expected to.
func TestManyConflicts(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{})
	stream := retries(t, s.JetStream(), 1)
	p := startSingles(t, s, Options{})
	if errs := together(p, schedule("a", "lease", "lease", "0")); errs[0] != nil {
		t.Fatal(errs)
	}
	var msgs []*nats.Msg
	for i := range 120 {
		msgs = append(msgs, schedule("a", "late", fmt.Sprint(i), "0"))
	}
	for i, err := range together(p, msgs...) {
		if !IsConflict(err) {
			t.Errorf("message %d: %v, want a conflict", i, err)
		}
	}
	if errs := together(p, schedule("a", "retry", "retry", "1"), schedule("b", "other", "", "0")); errs[0] != nil || errs[1] != nil {
		t.Error(errs)
	}
	if got := strings.Join(bodies(t, stream), " "); got != "retry other" {
		t.Errorf("stored %s", got)
	}
	if m, err := stream.GetLastMsgForSubject(t.Context(), "s.a"); err != nil || m.Header.Get(headerBatchID) != "" {
		t.Errorf("%v, %v", m, err)
	}
}

// An id is known although its message is gone: the second one stores nothing, and
// that is no conflict.
func TestIDOutlivesItsMessage(t *testing.T) {
	t.Parallel()
	for name, pace := range paces {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Options{})
			stream := retries(t, s.JetStream(), 1)
			p := start(t, s, Options{})
			p.pace = pace
			if errs := together(p, schedule("a", "lease", "lease", "0"), schedule("b", "b", "b", "0")); errs[0] != nil || errs[1] != nil {
				t.Fatal(errs)
			}
			if err := stream.DeleteMsg(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if errs := together(p, schedule("a", "lease", "lease", "0"), schedule("c", "c", "c", "0")); errs[0] != nil || errs[1] != nil {
				t.Error(errs)
			}
			if got := strings.Join(bodies(t, stream), " "); got != "b c" {
				t.Errorf("stored %s", got)
			}
		})
	}
}

// A cluster that has not decided on an earlier message of the subject says nothing of
// what the next one expects: that is sent again until it is told.
func TestSubjectInProcess(t *testing.T) {
	t.Parallel()
	nc, stream := worlds["cluster"](t)
	p := New(Options{Conn: nc, Stream: "S"})
	p.pace = paces["singles"]
	t.Cleanup(p.Close)
	errs := together(p, schedule("a", "first", "", "0"), schedule("a", "second", "", "1"), schedule("a", "late", "", "0"))
	if errs[0] != nil || errs[1] != nil || !IsConflict(errs[2]) {
		t.Error(errs)
	}
	if got := strings.Join(bodies(t, stream), " "); got != "second" {
		t.Errorf("stored %s", got)
	}
}
