package intake

import (
	"context"
	"errors"
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

// pair is two intakes of one consumer, each with a connection of its own, as two
// gateways have them.
type pair struct {
	*testing.T
	js              jetstream.JetStream
	stream          jetstream.Stream
	group, consumer string
	stored          time.Time

	mu    sync.Mutex
	times map[uint64]int // how often each message was handed out, to either
	held  []*Message
}

const (
	pairWait = 6 * time.Second // AckWait of its consumer; an election on a busy machine is shorter
	pairSize = 60
)

// newPair stores messages. Call start when they are old.
func newPair(t *testing.T, connect func() *nats.Conn, replicas int, group string) *pair {
	t.Helper()
	js, err := jetstream.New(connect())
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{T: t, js: js, group: group, consumer: "c" + group, times: map[uint64]int{}}
	p.stream, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S" + group, Subjects: []string{"s" + group}, Replicas: replicas})
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.ConsumerConfig{Durable: p.consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: pairWait, MaxAckPending: 1000}
	if group != "" {
		cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{group}, 3*time.Second
	}
	if _, err := p.stream.CreateConsumer(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for i := range pairSize {
		if _, err := js.Publish(t.Context(), "s"+group, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	p.stored = time.Now()
	return p
}

// start starts the intakes when all messages are older than the AckWait. Nothing of
// what they get is settled.
func (p *pair) start(connect func() *nats.Conn) {
	p.Helper()
	p.until("all are older than the ack wait", func() bool { return time.Since(p.stored) > pairWait+pairWait/10 })

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range 2 {
		conn := connect()
		in := New(Options{
			Conn: conn, Stream: "S" + p.group, Consumer: p.consumer, Group: p.group, Beat: pairWait / 3, Handle: p.take,
			Open: func(ctx context.Context) error {
				js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(time.Second))
				if err == nil {
					_, err = js.Consumer(ctx, "S"+p.group, p.consumer)
				}
				return err
			},
		})
		running.Go(func() { in.Run(ctx) })
		running.Go(func() { in.Beat(ctx) })
	}
	p.Cleanup(func() { cancel(); running.Wait() })
	p.until("all are handed out", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.held) >= pairSize })
}

func (p *pair) take(m *Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[m.Sequence]++
	p.held = append(p.held, m)
}

func (p *pair) until(what string, ok func() bool) {
	p.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			p.Fatalf("waited too long until %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// known waits until the reports have reached all replicas that count: what a leader
// hears in its last moment may be lost. A leader handles what it hears of one
// connection in order, and hands a message out when all that it wrote down before is
// replicated.
func (p *pair) known() {
	p.Helper()
	p.mu.Lock()
	held := slices.Clone(p.held)
	p.mu.Unlock()
	asked := map[*Intake]bool{}
	for _, m := range slices.Backward(held) {
		if asked[m.in] {
			continue
		}
		asked[m.in] = true
		p.until("the leader has heard all reports", func() bool {
			_, err := m.in.opts.Conn.Request(m.Msg.Reply, ackProgress, time.Second)
			return err == nil
		})
	}
	p.one()
}

// one stores a message and waits until somebody has it.
func (p *pair) one() {
	p.Helper()
	var seq uint64
	p.until("one more is stored", func() bool {
		ack, err := p.js.Publish(p.Context(), "s"+p.group, nil)
		if err == nil {
			seq = ack.Sequence
		}
		return err == nil
	})
	p.until("it is handed out", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.times[seq] > 0 })
}

// twice returns how many messages were sent a second time, also to who has them,
// when the server sends new ones again: those come after what it sends again.
func (p *pair) twice() (n int) {
	p.Helper()
	p.one()
	p.mu.Lock()
	defer p.mu.Unlock()
	for seq, times := range p.times {
		if seq <= pairSize && times > 1 {
			n++
		}
	}
	consumer, err := p.stream.Consumer(p.Context(), p.consumer)
	if err != nil {
		p.Fatal(err)
	}
	return max(n, consumer.CachedInfo().NumRedelivered)
}

// A server that becomes the leader of a consumer hands out at once what is older
// than the AckWait, unless it was reported in progress. So what is old is reported
// when it is received, and stays with who has it.
func TestHeldMessagesStayOursAcrossElections(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	js := cluster.JetStream()
	pairs := map[string]*pair{"shared": newPair(t, cluster.Connect, 3, ""), "pinned": newPair(t, cluster.Connect, 3, "g")}
	for name, p := range pairs {
		p.start(cluster.Connect)
		p.known()
		cluster.StepDownConsumer(js, "S"+p.group, p.consumer)
		if n := p.twice(); n > 0 {
			t.Errorf("%s: %d of %d were handed out twice", name, n, pairSize)
		}
	}
}

// So does a server that is restarted in order.
func TestHeldMessagesStayOursAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	connect := func() *nats.Conn { return server.Connect() }
	p := newPair(t, connect, 1, "")
	p.start(connect)
	p.known()
	server.Restart()
	if n := p.twice(); n > 0 {
		t.Errorf("%d of %d were handed out twice", n, pairSize)
	}
}

// What a message's age is, the clock of the server says. Fresh ones cost no report:
// the first is due when the message is as old as a beat.
func TestReportsByAge(t *testing.T) {
	t.Parallel()
	const beat = time.Hour
	for name, test := range map[string]struct {
		age  time.Duration // when it is received
		tick time.Duration // until the beats are looked at; 0: they are not
		want string
	}{
		"fresh":                        {0, 0, "+ACK"},
		"fresh, and soon settled":      {0, beat / 2, "+ACK"},
		"fresh, and a beat later":      {0, beat, "+WPI+ACK"},
		"not fresh":                    {beat / 2, 0, "+ACK"},
		"not fresh, and a beat old":    {beat / 2, beat/2 + beat/4, "+WPI+ACK"},
		"a beat old":                   {beat, 0, "+WPI+ACK"},
		"a beat old, and looked at":    {beat, beat / 2, "+WPI+ACK"},
		"a beat old, and a beat later": {beat, beat, "+WPI+WPI+ACK"},
		"from the future":              {-beat, beat / 2, "+ACK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(o *Options) {
				o.Beat = beat
				o.ServerTime = func() time.Time { return time.Now().Add(test.age) }
			})
			listener := b.server.Connect()
			said, err := listener.SubscribeSync("$JS.ACK.S.c.>")
			if err := errors.Join(err, listener.Flush()); err != nil { // the server knows it now
				t.Fatal(err)
			}
			b.publish(1)
			m := b.receive(1)[0]
			if test.tick > 0 {
				b.in.BeatOnce(time.Now().Add(test.tick))
			}
			m.Ack()
			got := ""
			for !strings.HasSuffix(got, "+ACK") {
				msg, err := said.NextMsg(30 * time.Second)
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				got += string(msg.Data)
			}
			if got != test.want {
				t.Errorf("the server heard %s, want %s", got, test.want)
			}
		})
	}
}
