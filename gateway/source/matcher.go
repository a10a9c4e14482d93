package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/config"
	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/gateway/topology"
	"fanjet/internal/intake"
	"fanjet/internal/jsapi"
	"fanjet/internal/publish"
	"fanjet/internal/sampled"
	"fanjet/internal/wire"
)

// Options say what a matcher works with.
type Options struct {
	Source    config.Source
	Names     wire.Names
	JetStream jetstream.JetStream
	Conn      *nats.Conn
	State     jetstream.KeyValue             // for the cursor
	Match     *atomic.Pointer[match.Matcher] // replaced by a reload
	// Own returns the endpoint of an event of Fanjet's own, which no subscription
	// sees; nil: there are none.
	Own        func(subject string) (endpoint string, is bool)
	Deliveries Publisher // to the shared log
	Lanes      *Routes
	Letters    Letters
	Direct     Direct // makes deliveries that are not stored; nil: there are none
	// Report hears why the matcher gets no events, and with nil that it does.
	Report     func(error)
	Metrics    *Metrics
	ServerTime func() time.Time
	Log        *zap.Logger
}

// Publisher stores deliveries in one stream, and tells what became of each; a
// [publish.Publisher] is one.
type Publisher interface {
	Enqueue(ctx context.Context, msg *nats.Msg, done publish.Completion) error
}

// Letters stores dead letters; a [dlq.Writer] is one.
type Letters interface {
	Write(ctx context.Context, env wire.Envelope, reason dlq.Reason, attempts int, eventHeaders nats.Header, data []byte, hopID string) error
}

// Matcher takes the events of one source, in order, and makes a delivery for every
// endpoint that wants them. An event is acknowledged when each of its deliveries was
// made directly, or is stored.
//
// Among all replicas one matcher of a source is active at a time (its consumer
// pins a client). Two that overlap for a moment do no harm: what both publish
// has the same ids.
type Matcher struct {
	opts    Options
	names   wire.Names
	stream  string // the source's
	cursor  *cursor
	counts  sourceCounts
	log     *zap.Logger
	sampled *zap.Logger // for what may happen with every event

	in        *intake.Intake
	endpoints []string // of the event that is being handled
	queue     chan *intake.Message
	gaps      *gaps
	created   atomic.Pointer[time.Time] // of the source stream
	nature    natureWatch
	watch     consumerWatch
	shorter   time.Time      // since when the stream looks shorter than it was; only open uses it
	acked     atomic.Uint64  // sequence of the event acknowledged last; 0: the cursor has it
	times     storedTimes    // of events that were acknowledged lately
	newly     atomic.Int64   // events acknowledged since the cursor was to follow
	letting   sync.WaitGroup // dead letters being written

	held       held
	mark       mark
	lives      atomic.Pointer[lives] // since the latest claim; nil: not known
	untouched  atomic.Bool           // nobody had got an event when the consumer was opened
	maxPayload int64                 // of the connection
	ordered    time.Time             // when there was an event for an ordered endpoint
}

// New returns a matcher that begins with run.
func New(o Options) *Matcher {
	want := topology.MatchConsumer(o.Names)
	m := &Matcher{
		opts: o, names: o.Names, stream: o.Source.Stream, counts: o.Metrics.forSource(o.Source.Stream),
		cursor: &cursor{js: o.JetStream, state: o.State, stream: o.Source.Stream, want: want},
		log:    o.Log.Named("match").With(zap.String("source", o.Source.Stream)),
	}
	m.sampled = sampled.Logger(m.log)
	m.held.init(o.Conn.IsConnected())
	m.maxPayload = o.Conn.MaxPayload()
	m.mark = mark{state: o.State, stream: m.stream, nc: o.Conn, log: m.log, by: nats.NewInbox()[len(nats.InboxPrefix):]}
	m.queue = make(chan *intake.Message, topology.MatchWindow)
	m.gaps = m.newGaps()
	m.cursor.vouched = m.gaps.vouched.Load
	m.cursor.acked = m.times.of
	m.in = intake.New(intake.Options{
		Conn:     m.opts.Conn,
		Stream:   m.stream,
		Consumer: m.names.MatchConsumer(),
		Prefix:   jsapi.Of(m.opts.JetStream).Prefix(),
		Open:     m.open,
		Handle:   func(msg *intake.Message) { m.queue <- msg }, // as long as the window: never blocks
		State:    o.Report,
		Group:    topology.MatchGroup,
		Window:   m.held.window,
		Beat:     topology.MatchAckWait / 3,
		AckWait:  topology.MatchAckWait,

		ServerTime: o.ServerTime,
	})
	return m
}

// open finds or creates the consumer of the source.
func (m *Matcher) open(ctx context.Context) error {
	stream, err := m.opts.JetStream.Stream(ctx, m.stream)
	if err != nil {
		return fmt.Errorf("cannot open the stream %s: %w", m.stream, err)
	}
	created := stream.CachedInfo().Created
	m.nature.learn(stream.CachedInfo())
	if err := m.cursor.load(ctx); err != nil {
		return err
	}
	if err := m.caughtUp(ctx, stream); err != nil {
		return err
	}
	wrong, err := m.cursor.review(ctx, stream)
	if err != nil {
		return err
	}
	consumer, err := topology.OpenConsumer(ctx, stream, m.cursor.want)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	moved := false
	if wrong == "" && m.suspect(created, info) {
		if moved, err = m.passedOver(ctx, stream, info); err == nil && moved {
			err = m.goBack(ctx, created, info.AckFloor.Stream+1)
		}
		if err != nil {
			return err
		}
	}
	// It would pass over new events. Everything that the stream has comes again; the
	// cursor says what was fanned out.
	past, err := topology.PastEnd(ctx, stream, info)
	if err != nil {
		return err
	}
	if past && !moved {
		wrong = WentBack
		if err := topology.ReplaceConsumer(ctx, stream, m.cursor.want); err != nil {
			return err
		}
	}
	if wrong != "" {
		m.log.Error("the source stream is not what it was", zap.String("finding", wrong))
		m.gaps.sequencesWentBack()
	}
	m.created.Store(&created)
	m.untouched.Store(info.Delivered.Consumer == 0 && m.cursor.at.Load() == nil)
	return nil
}

// settled returns up to which sequence all events of the source are settled. The
// leader of the consumer may know less: one that was just elected may not have
// read its state yet, and answers 0, with nothing pending either (nats-server
// 2.15.2).
func (m *Matcher) settled(ctx context.Context) (uint64, error) {
	ask, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
	defer answered()
	floor, err := ackFloorOf(ask, m.opts.JetStream, m.stream, m.cursor.want)
	return floor.Stream, err
}

// holds reports whether the source has an event from a sequence on and before that
// of another one, or may have one.
func (m *Matcher) holds(ctx context.Context, from, before uint64) (bool, error) {
	ask, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
	defer answered()
	next, err := jsapi.Of(m.opts.JetStream).Next(ask, m.stream, ">", from)
	if err == nil {
		return next.Sequence < before, nil
	}
	if !errors.Is(err, jsapi.ErrNoMessage) {
		return false, err
	}
	// The one that is wanted was removed meanwhile, or the leader of the stream has
	// not caught up.
	stream, err := m.opts.JetStream.Stream(ask, m.stream)
	if err != nil {
		return false, err
	}
	switch state := stream.CachedInfo().State; {
	case state.LastSeq < before:
		return true, nil
	case state.FirstSeq >= before:
		return false, nil
	}
	next, err = jsapi.Of(m.opts.JetStream).Next(ask, m.stream, ">", from) // now it has
	if errors.Is(err, jsapi.ErrNoMessage) {
		return false, nil
	}
	return err == nil && next.Sequence < before, err
}

// Run matches until ctx ends, then waits for what is being published, at most
// for the given time.
func (m *Matcher) Run(ctx context.Context, grace time.Duration) error {
	beats, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeats()
	// Enqueue must end with the grace time, or it would wait for ever for a NATS
	// that is away.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()

	var background, worker sync.WaitGroup
	background.Go(func() { m.in.Beat(beats) })
	background.Go(func() { m.keepCursor(ctx) })
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	background.Go(func() { m.keepHeld(keep) })
	events := sequencer{
		handle: func(msg *intake.Message) {
			if ctx.Err() != nil {
				msg.Nak()
				return
			}
			m.handle(work, msg)
		},
		seen:    func(msg *intake.Message) bool { return m.gaps.look(work, *m.created.Load(), msg) },
		settled: func() (uint64, error) { return m.settled(ctx) },
		holds:   func(from, before uint64) (bool, error) { return m.holds(ctx, from, before) },
		failed: func(err error) {
			if ctx.Err() == nil {
				m.sampled.Warn("it is not known whether older events are settled; newer ones wait", zap.Error(err))
			}
		},
		pinned: func(msg *intake.Message) { m.claim(ctx, msg) },
		full:   m.in.Full,
		late: func() {
			m.log.Warn("older events are neither settled nor sent again; this gateway goes on without them, and they may come after newer ones", zap.Duration("waited", takeoverWait))
		},
	}
	worker.Go(func() { events.run(m.queue) })
	m.in.Run(ctx)
	close(m.queue)

	timer := time.AfterFunc(grace, stopWork)
	defer timer.Stop()
	worker.Wait()
	settled := m.in.Wait(work)
	stopWork()
	stopKeeping()
	m.letting.Wait()
	m.mark.begun.Wait()

	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := m.in.Flush(flush)
	if created := m.created.Load(); err == nil && settled == nil && created != nil {
		if _, behind := m.cursor.advance(flush, *created); behind != nil {
			m.log.Warn("the cursor stays behind", zap.Error(behind))
		}
	}
	stopBeats()
	background.Wait()
	return err
}
