package intake

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Of what the server took back, because this process was stopped, nothing is given
// back: others have it.
func TestLapsedMessagesAreOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Beat, o.AckWait = time.Hour, ackWait })
	b.publish(1)
	m := b.receive(1)[0]
	if m.Lapsed() {
		t.Error("lapsed at once")
	}
	b.stop()
	fetch := func() jetstream.Msg {
		t.Helper()
		got, err := b.consumer.Fetch(1, jetstream.FetchMaxWait(30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		other, ok := <-got.Messages()
		if !ok {
			t.Fatalf("nothing comes: %v", got.Error())
		}
		return other
	}
	theirs := fetch()
	if meta, err := theirs.Metadata(); err != nil || meta.Sequence.Stream != m.Sequence {
		t.Fatalf("they got another one: %+v, %v", meta, err)
	}
	if !m.Lapsed() {
		t.Error("they have it, and it has not lapsed")
	}
	m.Nak()
	if n := b.in.Held(); n != 0 {
		t.Errorf("%d held", n)
	}
	if err := theirs.InProgress(); err != nil { // theirs for an AckWait from now
		t.Fatal(err)
	}
	b.publish(1)
	if meta, err := fetch().Metadata(); err != nil || meta.Sequence.Stream == m.Sequence {
		t.Errorf("what they have was given to a third: %+v, %v", meta, err)
	}
}

// What comes again to here is ours again, and is not handed out a second time.
func TestLapsedMessageComesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Beat, o.AckWait = time.Hour, ackWait })
	b.publish(1)
	m := b.receive(1)[0]
	b.stop()
	b.waitFor("it has lapsed", m.Lapsed)
	b.run()
	b.waitFor("it is ours again", func() bool { return !m.Lapsed() })
	m.Ack()
	b.waitFor("it is settled", func() bool { return b.info().AckFloor.Stream == 1 })
	if n := len(b.got); n != 0 {
		t.Errorf("%d handed out twice", n)
	}
}

// What lay in the socket while this process stood still for longer than an AckWait is
// somebody else's when it is read, although nothing was heard of it here before.
func TestLapsedInTheSocket(t *testing.T) {
	t.Parallel()
	first, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	read := make(chan *Message, 10)
	b := setup(t, func(o *Options) {
		o.AckWait = ackWait
		o.Handle = func(m *Message) {
			if m.Sequence == 1 {
				close(first)
				<-goOn // nothing more is read
			}
			read <- m
		}
	})
	defer release()
	b.stop()
	b.publish(2) // both are there when they are asked for
	b.run()
	<-first
	b.waitFor("both are handed out", func() bool { return b.info().NumAckPending == 2 })
	others, err := b.consumer.Messages() // gets what nothing is heard of
	if err != nil {
		t.Fatal(err)
	}
	defer others.Stop()
	for {
		other, err := others.Next()
		if err != nil {
			t.Fatal(err)
		}
		if meta, err := other.Metadata(); err != nil {
			t.Fatal(err)
		} else if meta.Sequence.Stream == 2 {
			if err := other.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	release()
	for m := range read {
		if m.Sequence != 2 {
			continue
		}
		if !m.Lapsed() {
			t.Error("another one has settled it, and it has not lapsed")
		}
		return
	}
}

// A message that was not reported for too long is not reported any more, and the
// time of day tells of a suspended machine.
func TestLapses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		in := &Intake{opts: Options{AckWait: 10 * time.Second, Beat: 3 * time.Second}}
		in.young.init()
		in.beats.init()
		message := func(beaten time.Time) *Message {
			m := &Message{in: in, beaten: beaten, reply: "r", waits: &in.young}
			in.young.pushBack(m)
			return m
		}
		lost, due := message(now.Add(-9*time.Second)), message(now.Add(-8*time.Second))
		fresh := message(now.Add(-time.Second))
		suspended := message(now.Round(0).Add(-time.Hour))
		if got := in.due(nil, now, in.opts.Beat); len(got) != 1 {
			t.Errorf("%d are reported, want one", len(got))
		}
		for m, want := range map[*Message]bool{lost: true, due: false, fresh: false, suspended: true} {
			if m.Lapsed() != want {
				t.Errorf("beaten %s ago, lapsed: %v", now.Sub(m.beaten), !want)
			}
			if quiet := m.Silence(now); (quiet >= in.opts.AckWait) != want {
				t.Errorf("the server has heard nothing of it for %s, lapsed: %v", quiet, want)
			}
		}
		in.opts.AckWait = 0
		if m := message(now.Add(-time.Hour)); m.Lapsed() {
			t.Error("it is not known when it lapses")
		}
	})
}
