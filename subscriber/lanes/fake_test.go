package lanes

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/wire"
)

// members are the endpoints of a configuration, as the lanes see them.
type members struct {
	Dispatcher
	byName map[string]*member
	joined []string
	since  time.Time // when one was first missed
	fails  error
	asked  int // since when one is missing
	window int // what it says to a message
}

func (m *members) Endpoint(name string) Endpoint {
	if e := m.byName[name]; e != nil {
		return e
	}
	return nil
}

func (m *members) Endpoints() iter.Seq2[string, Endpoint] {
	return func(yield func(string, Endpoint) bool) {
		for name, e := range m.byName {
			if !yield(name, e) {
				return
			}
		}
	}
}

func (m *members) MissingSince(context.Context, string) (time.Time, error) {
	m.asked++
	return m.since, m.fails
}

func (m *members) Join(endpoint string, _ time.Time) { m.joined = append(m.joined, endpoint) }

// member is one of them.
type member struct {
	Endpoint
	laned   bool
	rejoins bool // as soon as it may
	ready   bool
	at      time.Time
	waiting []Message
	asked   int // how much it can use
}

func (m *member) Laned() bool                                 { return m.laned }
func (m *member) LaneReady(time.Time) (is bool, at time.Time) { return m.ready, m.at }
func (m *member) TakeLane() []Message                         { return m.waiting }

func (m *member) Rejoin(time.Time, time.Duration) bool {
	if m.rejoins {
		m.laned = false
	}
	return m.rejoins
}

// lanesOf are the lanes of endpoints, over a stream.
func lanesOf(t *testing.T, stream *fakeStream, byName map[string]*member) (*Lanes, *members) {
	t.Helper()
	m := &members{byName: byName}
	return New(Options{
		Conn: new(nats.Conn), JetStream: fakeServer{stream: stream}, Names: wire.NewNames(""),
		ServerTime: func() time.Time { return noon }, RemovalGrace: time.Minute, LaneRest: time.Minute,
		Log: zap.NewNop(), Sampled: zap.NewNop(),
	}, m), m
}

// fakeConsumers answer for the consumers of all lanes.
type fakeConsumers struct {
	open, look, check error
	floor             uint64
	opens             chan struct{} // a lane is open when it is closed; nil: at once
}

func (c fakeConsumers) OpenLane(context.Context, string, bool) error {
	if c.opens != nil {
		<-c.opens
	}
	return c.open
}

func (c fakeConsumers) LookLane(context.Context, string) (*jetstream.ConsumerInfo, error) {
	return &jetstream.ConsumerInfo{AckFloor: jetstream.SequenceInfo{Stream: c.floor}}, c.look
}

func (c fakeConsumers) CheckLane(*jetstream.ConsumerInfo, string) error { return c.check }

type fakeServer struct {
	jetstream.JetStream
	stream *fakeStream
}

func (s fakeServer) Stream(context.Context, string) (jetstream.Stream, error) {
	return s.stream, s.stream.do("open")
}

// fakeStream is the stream of the lanes, in the hands of a test.
type fakeStream struct {
	jetstream.Stream
	state jetstream.StreamState
	look  *jetstream.ConsumerInfo // at a consumer that was paused

	did    []string
	purges []jetstream.StreamPurgeRequest
	fails  map[string]error
}

func (s *fakeStream) do(what string) error {
	s.did = append(s.did, what)
	return s.fails[what]
}

func (s *fakeStream) CachedInfo() *jetstream.StreamInfo {
	return &jetstream.StreamInfo{State: s.state}
}

func (s *fakeStream) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return s.CachedInfo(), s.do("info")
}

func (s *fakeStream) Purge(_ context.Context, opts ...jetstream.StreamPurgeOpt) error {
	var r jetstream.StreamPurgeRequest
	for _, opt := range opts {
		if err := opt(&r); err != nil {
			return err
		}
	}
	s.purges = append(s.purges, r)
	return s.do("purge")
}

func (s *fakeStream) PauseConsumer(context.Context, string, time.Time) (*jetstream.ConsumerPauseResponse, error) {
	return nil, s.do("pause")
}

func (s *fakeStream) ResumeConsumer(context.Context, string) (*jetstream.ConsumerPauseResponse, error) {
	return nil, s.do("resume")
}

func (s *fakeStream) DeleteConsumer(context.Context, string) error { return s.do("delete") }

func (s *fakeStream) Consumer(context.Context, string) (jetstream.Consumer, error) {
	return fakeConsumer{info: s.look}, s.do("look")
}

type fakeConsumer struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (c fakeConsumer) CachedInfo() *jetstream.ConsumerInfo { return c.info }
