package subscriber

import (
	"context"
	"fmt"
	"maps"
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
	"golang.org/x/time/rate"

	"fanjet/dlq"
	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber/attempt"
	"fanjet/subscriber/endpoint"
	"fanjet/subscriber/httpsend"
	"fanjet/subscriber/lanes"
)

// hand is a dispatcher in the hands of a test, without NATS: the test answers what is
// published, and hears how messages are settled.
type hand struct {
	*testing.T
	*Dispatcher
	retries, moves, letters *mailbox
	bucket                  *memory
	leases                  *leaseDesk // made with the first direct delivery
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
				Conn: new(nats.Conn), Names: names, State: h.bucket, Retries: h.retries, Lanes: h.moves,
				Letters:    &dlq.Writer{Names: names, Publisher: h.letters},
				ServerTime: time.Now,
				Consumers:  lookLane(func(*jetstream.ConsumerInfo) error { return jetstream.ErrConsumerNotFound }),
			},
			log: zap.New(core), sampled: zap.New(core), metrics: newMetrics(prometheus.NewRegistry()),
			random: func() float64 { return 0.5 }, slots: newSlots(maxAttempts), conns: httpsend.NewIdleLimit(),
			paused: make(map[string]endpoint.Pause), idle: make(chan *delivery), done: make(chan struct{}),
		}
		ctx, cancel := context.WithCancel(t.Context())
		d.work, h.stopWork = ctx, cancel
		d.direct.limit = rate.NewLimiter(leasesPerSecond, leasesPerSecond)
		d.direct.running = make(map[string]*Direct)
		d.fast = newFastLane(d)
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
		d.direct.ending.Wait()
		for name, box := range map[string]*mailbox{"retries": h.retries, "lanes": h.moves, "letters": h.letters} {
			if n := len(box.came); n > 0 {
				h.Errorf("%d messages to the %s were not expected", n, name)
			}
		}
		if h.leases != nil && len(h.leases.came) > 0 {
			h.Errorf("asked %d times for leases", len(h.leases.came))
		}
	})
}

// add adds an endpoint.
func (h *hand) add(name string) *member {
	settings := endpoint.Default()
	settings.Name = name
	e := h.newEndpoint(&attempt.Target{Settings: settings})
	all := maps.Clone(*h.endpoints.Load())
	all[name] = e
	h.endpoints.Store(&all)
	h.Cleanup(func() { e.stop() })
	return e
}

type laneConsumers struct {
	Consumers
	look func(*jetstream.ConsumerInfo) error
}

func (c laneConsumers) LookLane(context.Context, string) (*jetstream.ConsumerInfo, error) {
	info := new(jetstream.ConsumerInfo)
	return info, c.look(info)
}

// lookLane are consumers whose lanes a test looks at.
func lookLane(look func(*jetstream.ConsumerInfo) error) Consumers { return laneConsumers{look: look} }

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
