package subscriber

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/lanes"
)

// hand is a dispatcher in the hands of a test, without NATS: the test answers what is
// published, and hears how messages are settled.
type hand struct {
	*testing.T
	*Dispatcher
	retries, moves, letters *mailbox
	bucket                  *memory
	logs                    *observer.ObservedLogs
	e                       *member // named "a"
	n                       uint64  // messages that were made
	stopWork                context.CancelFunc
}

// inHand runs a test in a bubble of its own, with an endpoint.
func inHand(t *testing.T, change func(*endpoint.Settings), test func(h *hand)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		h := &hand{T: t, retries: newMailbox(), moves: newMailbox(), letters: newMailbox(), bucket: newMemory(), logs: logs}
		names := wire.NewNames("")
		d := &Dispatcher{
			opts: Options{
				Names: names, State: h.bucket, Retries: h.retries, Lanes: h.moves,
				Letters:    &dlq.Writer{Names: names, Publisher: h.letters},
				ServerTime: time.Now,
				LookLane: func(context.Context, string) (*jetstream.ConsumerInfo, error) {
					return nil, jetstream.ErrConsumerNotFound
				},
			},
			log: zap.New(core), sampled: zap.New(core), metrics: newMetrics(prometheus.NewRegistry()),
			random: func() float64 { return 0.5 }, slots: newSlots(maxAttempts), conns: attempt.NewIdleLimit(),
			paused: make(map[string]endpoint.Pause), idle: make(chan *delivery), done: make(chan struct{}),
		}
		ctx, cancel := context.WithCancel(t.Context())
		d.work, h.stopWork = ctx, cancel
		d.fast = &fastLane{d: d}
		d.lanes = lanes.New(lanes.Options{Log: d.log, Sampled: d.sampled}, laneSide{d})
		h.Dispatcher = d
		settings := endpoint.Default()
		settings.Name = "a"
		change(&settings)
		h.e = d.newEndpoint(&attempt.Target{Settings: settings})
		d.endpoints.Store(&map[string]*member{"a": h.e})

		test(h)

		cancel()
		h.e.stop()
		close(d.done)
		d.workers.Wait()
		d.settling.Wait()
		for name, box := range map[string]*mailbox{"retries": h.retries, "lanes": h.moves, "letters": h.letters} {
			if n := len(box.came); n > 0 {
				h.Errorf("%d messages to the %s were not expected", n, name)
			}
		}
	})
}

func lookLane(look func(*jetstream.ConsumerInfo) error) func(context.Context, string) (*jetstream.ConsumerInfo, error) {
	return func(context.Context, string) (*jetstream.ConsumerInfo, error) {
		info := new(jetstream.ConsumerInfo)
		return info, look(info)
	}
}

func counted(h *hand, c prometheus.Counter) float64 {
	h.Helper()
	return testutil.ToFloat64(c)
}

func asItIs(*endpoint.Settings) {}

// held is how a message was settled.
type held struct {
	mu     sync.Mutex
	said   []string
	lapsed bool
}

func (s *held) say(word string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, word)
}

func (s *held) Ack() { s.say("ack") }
func (s *held) Nak() { s.say("nak") }

func (s *held) Lapsed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lapsed
}

// check waits until everything rests, and compares what was said about a message;
// empty: nothing, it is held.
func (h *hand) check(s *held, want string) {
	h.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.said, " "); got != want {
		h.Errorf("settled %q, want %q", got, want)
	}
}

// envelope is that of the first attempt at the endpoint.
func (h *hand) envelope() wire.Envelope {
	return wire.Envelope{
		EventID: fmt.Sprintf("msg_%d", h.n), Key: fmt.Sprintf("k%d", h.n), Endpoint: "a", Subject: "events.x",
		Source: fmt.Sprintf("EVENTS/%d", h.n), Accepted: time.Now(), Attempt: 1,
	}
}

// message receives one from a stream.
func (h *hand) message(stream, subject string, env wire.Envelope) (message, *held) {
	h.n++
	s := new(held)
	header := nats.Header{"X-Own": {"kept"}, nats.MsgIdHdr: {"of the hop before"}}
	env.WriteTo(header)
	return message{
		Message: &intake.Message{
			Msg:    &nats.Msg{Subject: subject, Header: header, Data: []byte("{}")},
			Stream: stream, Sequence: 100 + h.n, Stored: time.Now(), Deliveries: 1,
		},
		settler: s,
	}, s
}

// delivery receives one from the log.
func (h *hand) delivery(change func(*wire.Envelope)) (*delivery, wire.Envelope, *held) {
	env := h.envelope()
	change(&env)
	m, s := h.message(h.opts.Names.DeliveriesStream(), h.opts.Names.DeliverSubject("a"), env)
	return &delivery{msg: m, ep: h.e}, env, s
}

// first receives the first delivery of the endpoint's line.
func (h *hand) first(change func(*wire.Envelope)) (*delivery, wire.Envelope, *held) {
	env := h.envelope()
	change(&env)
	m, s := h.message(h.opts.Names.LanesStream(), h.opts.Names.LaneSubject("a"), env)
	return &delivery{msg: m, ep: h.e, lane: true}, env, s
}

func unchanged(*wire.Envelope) {}

// mailbox is a publisher of which the test is the stream.
type mailbox struct {
	came   chan *sent
	closed error // what Enqueue says
}

// sent is a message that waits for an answer.
type sent struct {
	*nats.Msg
	answer func(error)
}

func newMailbox() *mailbox { return &mailbox{came: make(chan *sent, 100)} }

func (b *mailbox) Enqueue(_ context.Context, m *nats.Msg, done publish.Completion) error {
	if b.closed != nil {
		return b.closed
	}
	b.came <- &sent{m, done.Published}
	return nil
}

func (b *mailbox) Publish(ctx context.Context, m *nats.Msg) error {
	answers := make(answer, 1)
	if err := b.Enqueue(ctx, m, answers); err != nil {
		return err
	}
	select {
	case err := <-answers:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

type answer chan error

func (a answer) Published(err error) { a <- err }

// next is the next message to a mailbox: no other one may have come.
func (h *hand) next(b *mailbox) *sent {
	h.Helper()
	synctest.Wait()
	if len(b.came) != 1 {
		h.Fatalf("%d messages came, want one", len(b.came))
	}
	return <-b.came
}

// What NATS says to a message.
var (
	errBadMessage = &jetstream.APIError{Code: 400, ErrorCode: 10060, Description: "refused"}
	errTooLarge   = &jetstream.APIError{Code: 400, ErrorCode: 10054, Description: "message size exceeds maximum allowed"}
	errNoAnswer   = nats.ErrTimeout
)

// memory is a state bucket.
type memory struct {
	jetstream.KeyValue

	mu     sync.Mutex
	values map[string]entry
	fails  error
	gets   int
}

type entry struct {
	jetstream.KeyValueEntry
	value    []byte
	revision uint64
	created  time.Time
}

func (e entry) Value() []byte                   { return e.value }
func (e entry) Revision() uint64                { return e.revision }
func (e entry) Created() time.Time              { return e.created }
func (e entry) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

func newMemory() *memory { return &memory{values: make(map[string]entry)} }

func (m *memory) Get(_ context.Context, key string) (jetstream.KeyValueEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	e, ok := m.values[key]
	switch {
	case m.fails != nil:
		return nil, m.fails
	case !ok:
		return nil, jetstream.ErrKeyNotFound
	}
	return e, nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return 0, m.fails
	}
	e := entry{value: value, revision: m.values[key].revision + 1, created: time.Now()}
	m.values[key] = e
	return e.revision, nil
}

func (m *memory) Create(ctx context.Context, key string, value []byte, _ ...jetstream.KVCreateOpt) (uint64, error) {
	return m.Put(ctx, key, value)
}

func (m *memory) Update(ctx context.Context, key string, value []byte, _ uint64) (uint64, error) {
	return m.Put(ctx, key, value)
}

func (m *memory) Delete(_ context.Context, key string, _ ...jetstream.KVDeleteOpt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return m.fails
}
