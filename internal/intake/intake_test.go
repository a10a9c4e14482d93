package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"fanjet/internal/faultproxy"
	"fanjet/internal/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.Leaks()...) }

// bench is a stream with a consumer, and an intake on it.
type bench struct {
	*testing.T
	server   *natstest.Server
	js       jetstream.JetStream
	consumer jetstream.Consumer
	in       *Intake
	got      chan *Message
	stop     func()
}

const ackWait = 400 * time.Millisecond

func setup(t *testing.T, change ...func(*Options)) *bench {
	t.Helper()
	return setupOn(t, natstest.Start(t, natstest.Options{}), change...)
}

func setupOn(t *testing.T, server *natstest.Server, change ...func(*Options)) *bench {
	t.Helper()
	b := &bench{T: t, server: server, got: make(chan *Message, 10_000)}
	b.js = b.server.JetStream()
	stream, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	b.consumer, err = stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Conn:   b.server.Conn(),
		Stream: "S", Consumer: "c",
		Open: func(ctx context.Context) error {
			_, err := b.js.Consumer(ctx, "S", "c")
			return err
		},
		Handle: func(m *Message) { b.got <- m },
		Beat:   ackWait / 4,
	}
	for _, f := range change {
		f(&o)
	}
	b.in = New(o)
	b.run()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	beats, stopBeats := context.WithCancel(context.Background())
	var wg, beating sync.WaitGroup
	wg.Go(func() { b.in.Run(ctx) })
	beating.Go(func() { b.in.Beat(beats) })
	b.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); stopBeats(); beating.Wait() })
}

func (b *bench) publish(n int) {
	b.Helper()
	for i := range n {
		if _, err := b.js.Publish(b.Context(), "s", fmt.Appendf(nil, "%d", i)); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) receive(n int) []*Message {
	b.Helper()
	var out []*Message
	for range n {
		select {
		case m := <-b.got:
			out = append(out, m)
		case <-time.After(2 * time.Minute):
			b.Fatalf("received %d of %d", len(out), n)
		}
	}
	return out
}

func (b *bench) info() *jetstream.ConsumerInfo {
	b.Helper()
	info, err := b.consumer.Info(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return info
}

func (b *bench) waitFor(what string, ok func() bool) {
	b.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-deadline:
			b.Fatalf("waited too long until %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestReceivesInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(1500)
	for i, m := range b.receive(1500) {
		if m.Sequence != uint64(i+1) || string(m.Msg.Data) != fmt.Sprint(i) || m.Stream != "S" || m.Stored.IsZero() {
			t.Fatalf("message %d: %+v", i, m)
		}
		m.Ack()
	}
	b.waitFor("all are acked", func() bool { return b.info().AckFloor.Stream == 1500 })
}

func TestHoldsNoMoreThanTheWindow(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Window = 5 })
	b.publish(20)
	first := b.receive(5)
	b.waitFor("the server has sent the window", func() bool { return b.info().NumAckPending == 5 })
	if n := b.in.Held(); n != 5 {
		t.Errorf("%d held", n)
	}
	for _, m := range first {
		m.Ack()
	}
	for range 15 {
		b.receive(1)[0].Ack()
		if n := b.in.Held(); n > 5 {
			t.Fatalf("%d held", n)
		}
	}
}

// A message that is held longer than the ack wait is not handed out twice, nor
// sent again by the server.
func TestHeldMessagesStayOurs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(3)
	held := b.receive(3)
	b.publish(1)
	other := b.receive(1)[0]
	b.waitFor("several ack waits have passed", func() bool { return time.Since(other.Stored) > 4*ackWait })
	if n := b.info().NumRedelivered; n != 0 {
		t.Errorf("%d redelivered", n)
	}
	for _, m := range append(held, other) {
		m.Ack()
	}
	if n := len(b.got); n != 0 {
		t.Errorf("%d handed out twice", n)
	}
}

// Without beats the server sends held messages again; the intake knows them.
func TestRedeliveriesOfHeldAndAckedMessagesAreKnown(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Beat = time.Hour })
	b.publish(2)
	two := b.receive(2)
	b.waitFor("the server sent them again", func() bool { return b.info().NumRedelivered == 2 })
	two[0].Ack()
	// The ack of the second one gets lost.
	b.in.release(two[1], nil, true)
	b.waitFor("the lost ack was repeated", func() bool { return b.info().NumAckPending == 0 })
	if n := len(b.got); n != 0 {
		t.Errorf("%d handed out twice", n)
	}
}

func TestNakComesAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(1)
	m := b.receive(1)[0]
	m.Nak()
	again := b.receive(1)[0]
	if again.Sequence != m.Sequence || again == m {
		t.Errorf("got %+v", again)
	}
	m.Ack() // no longer ours: nothing happens
	if n := b.info().NumAckPending; n != 1 {
		t.Errorf("%d ack pending", n)
	}
	again.Ack()
}

// Stopping leaves nothing behind that only a timeout would bring back.
func TestStopAndFlush(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(100)
	for i, m := range b.receive(100) {
		if i%2 == 0 {
			m.Ack()
		} else {
			m.Nak()
		}
	}
	b.stop()
	for len(b.got) > 0 {
		(<-b.got).Nak()
	}
	if err := b.in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.in.Held(); n != 0 {
		t.Errorf("%d held", n)
	}
	msgs, err := b.consumer.Fetch(50, jetstream.FetchMaxWait(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range msgs.Messages() {
		n++
		_ = m.DoubleAck(t.Context())
	}
	if info := b.info(); n != 50 || info.NumAckPending != 0 || info.AckFloor.Stream != 100 {
		t.Errorf("%d came again; %+v", n, info)
	}
}

func TestFlushWaitsForTheServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(500)
	for _, m := range b.receive(500) {
		m.Ack()
	}
	if err := b.in.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info := b.info(); info.NumAckPending != 0 {
		t.Errorf("%d acks had not arrived", info.NumAckPending)
	}
}

// A server that was killed may not know any more that it handed out what is acked now:
// it gives no answer, and a stop does not wait for one.
func TestFlushOfWhatTheServerForgot(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(3)
	held := b.receive(3)
	b.stop()
	conn := b.server.Conn()
	b.server.Stop()
	b.waitFor("the connection is lost", func() bool { return !conn.IsConnected() })
	b.server.Resume()
	b.waitFor("it is there again", conn.IsConnected)
	// As after a crash that lost what the consumer had written: it begins anew.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.js.DeleteConsumer(ctx, "S", "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	for _, m := range held {
		m.Ack()
	}
	if err := b.in.Flush(ctx); err != nil {
		t.Error(err)
	}
}

// The consumer or the server going away is reported, and overcome once it is
// back.
func TestRecovers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var state error
	get := func() error { mu.Lock(); defer mu.Unlock(); return state }
	b := setup(t, func(o *Options) {
		o.State = func(err error) { mu.Lock(); defer mu.Unlock(); state = err }
	})
	b.publish(1)
	b.receive(1)[0].Ack()
	config := b.info().Config
	if err := b.js.DeleteConsumer(t.Context(), "S", "c"); err != nil {
		t.Fatal(err)
	}
	b.waitFor("the loss is reported", func() bool { return get() != nil })
	if _, err := b.js.CreateConsumer(t.Context(), "S", config); err != nil {
		t.Fatal(err)
	}
	b.waitFor("it works again", func() bool { return get() == nil })
	// The new consumer knows of no ack, but we do.
	b.waitFor("the ack was repeated", func() bool { return b.info().AckFloor.Stream == 1 })
	b.server.Stop()
	b.waitFor("the outage is reported", func() bool { return get() != nil })
	b.server.Resume()
	b.waitFor("it works again", func() bool { return get() == nil })
	b.publish(1)
	b.receive(1)[0].Ack()
}

// A request that a busy server leaves without an answer is made again, and nobody
// is told.
func TestOneUnansweredRequestIsNoFault(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Listen: true})
	proxy, err := faultproxy.Start(strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	nc, err := nats.Connect("nats://"+proxy.Addr(), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	opened := make(chan struct{}, 100)
	b := setupOn(t, server, func(o *Options) {
		o.Conn = nc
		o.Open = func(context.Context) error { opened <- struct{}{}; return nil }
		o.State = func(err error) {
			if err != nil {
				t.Errorf("it is told that %v", err)
			}
		}
	})
	<-opened
	b.publish(1)
	b.receive(1)[0].Ack()
	proxy.Set(faultproxy.Fault{BlackHole: faultproxy.ToClient})
	<-opened // it has failed once
	proxy.Heal()
	b.publish(1)
	b.receive(1)[0].Ack()
}

func TestLargeMessagesBoundTheWindowInBytes(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.WindowBytes = 4 << 20 })
	for range 12 {
		if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "s", Data: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 12 {
		m := b.receive(1)[0]
		if n := b.in.Held(); n > 4 {
			t.Fatalf("%d MiB held", n)
		}
		m.Ack()
	}
}

// A message with the sequence of a held one is another message when the stream
// was created again.
func TestSameSequenceInANewStreamIsANewMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.publish(1)
	old := b.receive(1)[0]
	if err := b.js.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait}); err != nil {
		t.Fatal(err)
	}
	b.publish(1)
	fresh := b.receive(1)[0]
	if fresh.Sequence != old.Sequence || fresh == old {
		t.Errorf("got %+v", fresh)
	}
	old.Ack()
	fresh.Ack()
	if n := b.in.Held(); n != 0 {
		t.Errorf("%d held", n)
	}
}

// An event that looks like a control message of the server is an event.
func TestMessagesThatLookLikeStatuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, status := range []string{"100", "404", "408", "409", "423", "503"} {
		if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "s", Header: nats.Header{"Status": {status}, "Description": {"x"}}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range b.receive(6) {
		m.Ack()
	}
	b.waitFor("all are acked", func() bool { return b.info().AckFloor.Stream == 6 })
}

// While the connection is lost, its buffer is for acks: beats would fill it
// within seconds, and acks that find no room are repeated only when the message
// comes to the same process again.
func TestNoBeatsWhileDisconnected(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) {
		o.Open = func(context.Context) error { // asks the server for nothing
			if !o.Conn.IsConnected() {
				return nats.ErrDisconnected
			}
			return nil
		}
	})
	b.publish(1)
	m := b.receive(1)[0]
	conn := b.server.Conn()
	b.server.Stop()
	b.waitFor("the connection is lost", func() bool { return !conn.IsConnected() })
	beaten := func() time.Time { b.in.mu.Lock(); defer b.in.mu.Unlock(); return m.beaten }
	last := beaten()
	b.waitFor("several beats are due", func() bool { return time.Since(last) > ackWait })
	if n, err := conn.Buffered(); err != nil || n > 0 {
		t.Errorf("%d bytes wait for the server, %v", n, err)
	}
	// What was due is not lost with the connection.
	b.server.Resume()
	b.waitFor("the message is reported again", func() bool { return beaten().After(last) })
	if !conn.IsConnected() {
		t.Error("it counts as reported while nothing can be")
	}
	m.Ack()
	b.waitFor("the ack has arrived", func() bool {
		info, err := b.consumer.Info(t.Context())
		return err == nil && info.AckFloor.Stream == 1
	})
}

// What Open asks of a server whose connection breaks is never answered, and not
// waited for. A server says that it shuts down, so that is when Open is called.
func TestLostConnectionEndsOpen(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	ended := make(chan error, 1)
	b := setup(t, func(o *Options) {
		o.Open = func(ctx context.Context) error {
			if calls.Add(1) == 2 {
				<-ctx.Done() // for an answer that does not come
				ended <- context.Cause(ctx)
				return ctx.Err()
			}
			return nil
		}
	})
	b.publish(1)
	b.receive(1)
	if err := b.js.DeleteConsumer(t.Context(), "S", "c"); err != nil {
		t.Fatal(err)
	}
	b.waitFor("it opens again", func() bool { return calls.Load() == 2 })
	if err := b.server.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, nats.ErrDisconnected) {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it waits on")
	}
	b.waitFor("it tries again", func() bool { return calls.Load() > 2 })
}

// A held message whose consumer is deleted and made anew comes again; its
// settlement counts with the new consumer.
func TestSettlesWithTheNewConsumer(t *testing.T) {
	t.Parallel()
	config := jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 10_000}
	var js jetstream.JetStream
	b := setup(t, func(o *Options) {
		js = must(jetstream.New(o.Conn))
		o.Open = func(ctx context.Context) error {
			_, err := js.CreateOrUpdateConsumer(ctx, "S", config)
			return err
		}
	})
	b.publish(3)
	held := b.receive(3)
	if err := b.js.DeleteConsumer(b.Context(), "S", "c"); err != nil {
		t.Fatal(err)
	}
	b.waitFor("the new consumer has sent them again", func() bool {
		c, err := b.js.Consumer(b.Context(), "S", "c")
		return err == nil && c.CachedInfo().NumAckPending == 3 && c.CachedInfo().Delivered.Consumer >= 3
	})
	b.publish(1)
	last := b.receive(1)[0] // so the others were received again, too
	for _, m := range append(held, last) {
		m.Ack()
	}
	b.waitFor("all are settled", func() bool {
		c, err := b.js.Consumer(b.Context(), "S", "c")
		return err == nil && c.CachedInfo().AckFloor.Stream == 4 && c.CachedInfo().NumAckPending == 0
	})
	if n := len(b.got); n != 0 {
		t.Errorf("%d handed out twice", n)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWindowCanChange(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.Window = 2 })
	b.publish(10)
	b.receive(2)
	b.in.SetWindow(6)
	b.receive(4)
	if n := b.in.Held(); n != 6 {
		t.Errorf("%d held", n)
	}
}
