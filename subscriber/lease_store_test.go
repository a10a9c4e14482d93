package subscriber

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/intake"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// leaseWorld is a retries stream on a real server, set up as topology does it.
type leaseWorld struct {
	*testing.T
	s      *natstest.Server
	d      *Dispatcher
	store  *retriesLeases
	config jetstream.StreamConfig
}

func newLeaseWorld(t *testing.T) *leaseWorld {
	t.Helper()
	w := &leaseWorld{T: t, s: natstest.Start(t, natstest.Options{}), d: &Dispatcher{opts: Options{Names: wire.NewNames("")}}}
	names := w.d.opts.Names
	w.config = jetstream.StreamConfig{
		Name: names.RetriesStream(), Subjects: []string{names.RetrySubject("*", "*"), names.DueSubject("*")},
		Retention: jetstream.WorkQueuePolicy, Duplicates: 2 * time.Minute,
		AllowMsgSchedules: true, AllowAtomicPublish: true, AllowRollup: true,
	}
	if _, err := w.s.JetStream().CreateStream(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
	w.store = &retriesLeases{js: w.s.JetStream(), stream: w.config.Name}
	return w
}

// lease is a schedule with an id, of the delivery with a key.
func (w *leaseWorld) lease(key, id string, at time.Time) *nats.Msg {
	m := received(&intake.Message{Msg: &nats.Msg{Data: []byte("{}")}, Stream: "EVENTS", Sequence: 7, Stored: time.Unix(1, 0)})
	env := wire.Envelope{EventID: "msg_1", Key: key, Endpoint: "a", Subject: "s", Source: "S/1", Accepted: time.Unix(1, 0), Attempt: 1}
	msg := w.d.scheduleOf(m, env, at, nil)
	msg.Header[nats.MsgIdHdr] = []string{id}
	return msg
}

// taken takes a lease.
func (w *leaseWorld) taken(key string, at time.Time) uint64 {
	w.Helper()
	sequence, err := w.store.take(w.Context(), w.lease(key, key+"/lease", at))
	if err != nil || sequence == 0 {
		w.Fatalf("the lease is not taken: %d, %v", sequence, err)
	}
	return sequence
}

// subjects is how many messages there are of the schedules of a key, and how many are due.
func (w *leaseWorld) subjects(key string) (scheduled, due int) {
	w.Helper()
	stream, err := w.s.JetStream().Stream(w.Context(), w.config.Name)
	if err != nil {
		w.Fatal(err)
	}
	info, err := stream.Info(w.Context(), jetstream.WithSubjectFilter(">"))
	if err != nil {
		w.Fatal(err)
	}
	return int(info.State.Subjects[w.d.opts.Names.RetrySubject("a", key)]), int(info.State.Subjects[w.d.opts.Names.DueSubject("a")])
}

// fires waits until so many are due.
func (w *leaseWorld) fires(want int) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if _, due := w.subjects(""); due == want {
			return
		}
		if time.Now().After(deadline) {
			_, due := w.subjects("")
			w.Fatalf("%d are due, want %d", due, want)
		}
	}
}

func (w *leaseWorld) check(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%v, want %v", err, want)
	}
}

// What leases are asked for has the same effect when it is asked again, also if the
// server was started anew in between.
func TestLeaseStore(t *testing.T) {
	t.Parallel()
	late := time.Now().Add(time.Hour)
	for name, test := range map[string]func(w *leaseWorld, again func()){
		"take": func(w *leaseWorld, again func()) {
			first := w.taken("k", late)
			again()
			if second := w.taken("k", late); second != first {
				w.Errorf("taken again with the sequence %d, it was %d", second, first)
			}
			if n, due := w.subjects("k"); n != 1 || due != 0 {
				w.Errorf("%d leases, %d due", n, due)
			}
		},
		"take when another is there": func(w *leaseWorld, again func()) {
			w.taken("k", late)
			again()
			_, err := w.store.take(w.Context(), w.lease("k", "k/2", late))
			w.check(err, errFired)
		},
		"take when it has fired": func(w *leaseWorld, again func()) {
			first := w.taken("k", time.Now())
			w.fires(1)
			again()
			// Where the id is forgotten it is not known that it fired: it is another lease.
			second, err := w.store.take(w.Context(), w.lease("k", "k/lease", late))
			if n, _ := w.subjects("k"); err == nil && n == 0 && second != first {
				w.Errorf("said to be taken with the sequence %d", second)
			}
		},
		"replace": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", late)
			again()
			w.check(w.store.replace(w.Context(), sequence, w.lease("k", "k/2", late)), nil)
			again()
			w.check(w.store.replace(w.Context(), sequence, w.lease("k", "k/2", late)), nil)
			if n, due := w.subjects("k"); n != 1 || due != 0 {
				w.Errorf("%d schedules, %d due", n, due)
			}
		},
		"replace by what is due": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", late)
			w.check(w.store.replace(w.Context(), sequence, w.lease("k", "k/2", time.Now())), nil)
			again()
			w.fires(1)
			if n, due := w.subjects("k"); n != 0 || due != 1 {
				w.Errorf("%d schedules, %d due", n, due)
			}
		},
		"replace what fired": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", time.Now())
			w.fires(1)
			again()
			w.check(w.store.replace(w.Context(), sequence, w.lease("k", "k/2", late)), errFired)
			if n, due := w.subjects("k"); n != 0 || due != 1 {
				w.Errorf("%d schedules, %d due", n, due)
			}
		},
		"replace what has another life": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", time.Now())
			w.fires(1)
			w.taken("k", late) // with the id of the lease: a life that went on is not told by that
			if _, err := w.s.JetStream().PublishMsg(w.Context(), w.lease("k", "other", late)); err != nil {
				w.Fatal(err)
			}
			again()
			w.check(w.store.replace(w.Context(), sequence, w.lease("k", "k/2", late)), errFired)
		},
		"drop": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", late)
			again()
			w.check(w.store.drop(w.Context(), sequence), nil)
			if n, due := w.subjects("k"); n != 0 || due != 0 {
				w.Errorf("%d leases, %d due", n, due)
			}
			soon := time.Now().Add(time.Second)
			sequence = w.taken("soon", soon)
			w.taken("other", soon.Add(time.Second))
			w.check(w.store.drop(w.Context(), sequence), nil)
			again()
			w.check(w.store.drop(w.Context(), sequence), errFired)
			w.fires(1) // the other one, which is due later
			if n, due := w.subjects("soon"); n != 0 || due != 1 {
				w.Errorf("%d leases, %d due", n, due)
			}
		},
		"drop what fired": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", time.Now())
			w.fires(1)
			again()
			w.check(w.store.drop(w.Context(), sequence), errFired)
			if _, due := w.subjects("k"); due != 1 {
				w.Errorf("%d due", due)
			}
		},
		"drop what has another life": func(w *leaseWorld, again func()) {
			sequence := w.taken("k", time.Now())
			w.fires(1)
			if _, err := w.s.JetStream().PublishMsg(w.Context(), w.lease("k", "other", late)); err != nil {
				w.Fatal(err)
			}
			again()
			w.check(w.store.drop(w.Context(), sequence), errFired)
			if n, due := w.subjects("k"); n != 1 || due != 1 {
				w.Errorf("%d schedules, %d due", n, due)
			}
		},
	} {
		for between, again := range map[string]func(w *leaseWorld){"": func(*leaseWorld) {}, ", restarted": func(w *leaseWorld) { w.s.Restart(); w.connected() }} {
			t.Run(name+between, func(t *testing.T) {
				t.Parallel()
				w := newLeaseWorld(t)
				test(w, func() { again(w) })
			})
		}
	}
}

// connected waits until JetStream answers.
func (w *leaseWorld) connected() {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		if _, err := w.s.JetStream().AccountInfo(w.Context()); err == nil {
			return
		} else if time.Now().After(deadline) {
			w.Fatal(err)
		}
	}
}

// A server that refuses a lease says so for certain; one that is away does not.
func TestLeaseStoreThatTakesNothing(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t)
	late := time.Now().Add(time.Hour)
	sequence := w.taken("k", late)
	w.config.MaxMsgSize = 1
	if _, err := w.s.JetStream().UpdateStream(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
	_, err := w.store.take(t.Context(), w.lease("other", "other/lease", late))
	w.check(err, errNotTaken)
	w.check(w.store.replace(t.Context(), sequence, w.lease("k", "k/2", late)), errNotTaken)
	w.check(w.store.drop(t.Context(), sequence), nil)
	w.s.Stop()
	for what, err := range map[string]error{
		"take":    func() error { _, err := w.store.take(t.Context(), w.lease("k", "k/lease", late)); return err }(),
		"replace": w.store.replace(t.Context(), 1, w.lease("k", "k/2", late)),
		"drop":    w.store.drop(t.Context(), 1),
	} {
		if err == nil || errors.Is(err, errFired) || errors.Is(err, errNotTaken) {
			t.Errorf("%s without a server: %v", what, err)
		}
	}
}
