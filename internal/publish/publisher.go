package publish

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// Options configure a [Publisher].
type Options struct {
	Conn   *nats.Conn // required
	Stream string     // the stream that takes every message; required
	Log    *zap.Logger

	// InOrder stores messages in the order in which they were enqueued, whatever
	// fails: one commit is in flight at a time, and what it holds is all stored, or
	// decided, before the next. Only what JetStream refuses is left out.
	InOrder bool
	// Unsynced says that the server is known not to sync the disk at every write:
	// single messages are what costs it least, and nothing has to be tried.
	Unsynced bool
	// Fresh is asked of a message right before each time that it is sent, whose
	// completion is done; false has it complete with [ErrStale] instead. It is called
	// from the publisher's goroutine and must not block. Optional.
	Fresh func(done Completion) bool
	// Known hears of a message, whose completion is done, that JetStream held already
	// when it was sent for the first time; Published follows. It is called as Fresh
	// is. Optional.
	Known func(done Completion)
	// Linger is how long a message may wait for others that come, so that fewer syncs of
	// the disk serve all of them; default: not at all.
	Linger time.Duration
	// Hurries is asked of a message, whose completion is done, when it is enqueued: true
	// has it, and what waits before it, wait for no others. Optional.
	Hurries func(done Completion) bool
	// FailWhenFull gives [ErrFull] to the messages that a full stream refuses,
	// instead of holding them until there is room.
	FailWhenFull bool

	MaxBatch      int           // messages in flight; default, and limit of the server for a batch, 1,000
	MaxBatchBytes int           // bytes in flight; default 8 MiB
	MaxQueue      int           // messages waiting; Enqueue blocks beyond it; default 4,096
	MaxQueueBytes int           // bytes waiting; default 64 MiB
	AckTimeout    time.Duration // without any answer; default 10 s
}

func (o *Options) setDefaults() {
	o.MaxBatch = min(cmp.Or(o.MaxBatch, 1000), 1000)
	o.MaxBatchBytes = cmp.Or(o.MaxBatchBytes, 8<<20)
	o.MaxQueue = cmp.Or(o.MaxQueue, 4096)
	o.MaxQueueBytes = cmp.Or(o.MaxQueueBytes, 64<<20)
	o.AckTimeout = cmp.Or(o.AckTimeout, 10*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// Completion hears what became of a message.
type Completion interface {
	// Published is called once, from the publisher's goroutine: it must not
	// block.
	Published(error)
}

// ErrClosed is given to messages that were still waiting when the publisher
// was closed. Whether JetStream holds them is not known.
var ErrClosed = errors.New("publisher is closed")

// ErrStale is given to messages that [Options.Fresh] does not want to be sent any
// more. JetStream may hold one that was sent before.
var ErrStale = errors.New("the message waited for too long")

type item struct {
	msg    *nats.Msg
	size   int
	done   Completion // nil when it was called
	staged bool       // has the headers of a batch
	tried  bool       // was sent, and what became of it is not known

	conflict error // what the latest try met; whether its id is known was not asked yet
}

// Publisher publishes to one stream. Its methods may be called concurrently.
type Publisher struct {
	opts  Options
	log   *zap.Logger
	reset *resetWatch

	mu     sync.Mutex
	room   sync.Cond // signalled when the queue got shorter or closed
	queue  []item
	bytes  int
	hurry  bool // the queue waits for nothing more
	closed bool
	held   error // why messages are held at the moment

	wake     chan struct{} // has room for one: the queue is not empty any more, or hurries
	ctx      context.Context
	cancel   context.CancelFunc
	finished chan struct{}

	// Of the goroutine that publishes.
	pace        pace
	plainAck    []byte
	answers     *answers // made with the first single message
	batchPrefix string
	batchSeq    uint64
	sequences   [][]string
}

// New starts a publisher; Close ends it.
func New(o Options) *Publisher {
	o.setDefaults()
	p := &Publisher{
		opts:        o,
		log:         o.Log.With(zap.String("stream", o.Stream)),
		reset:       watchResets(o.Conn),
		wake:        make(chan struct{}, 1),
		finished:    make(chan struct{}),
		plainAck:    plainAck(o.Stream),
		batchPrefix: nats.NewInbox()[len(nats.InboxPrefix):] + "-",
	}
	p.pace.unsynced, p.pace.patient = o.Unsynced, o.Linger > 0
	p.room.L = &p.mu
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.run()
	return p
}

// Close stops the publisher. A message that still waits, or is in flight,
// completes with [ErrClosed]. Close returns when every completion was called.
func (p *Publisher) Close() {
	p.cancel()
	<-p.finished
}

// Held returns why messages are being held back at the moment, or nil.
func (p *Publisher) Held() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Enqueue hands a message over; done hears its outcome. It blocks while the
// queue is full. An error means that the message was not taken.
// The publisher owns msg and its header until done has heard; a message that
// failed may be enqueued again, with any publisher.
func (p *Publisher) Enqueue(ctx context.Context, msg *nats.Msg, done Completion) error {
	it := item{msg: msg, size: msg.Size(), done: done}
	p.mu.Lock()
	if p.full(it) && !p.closed {
		stop := context.AfterFunc(ctx, func() {
			p.mu.Lock()
			p.room.Broadcast()
			p.mu.Unlock()
		})
		for p.full(it) && !p.closed && ctx.Err() == nil {
			p.room.Wait()
		}
		stop()
	}
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		p.mu.Unlock()
		return err
	}
	p.queue = append(p.queue, it)
	p.bytes += it.size
	hurries := p.opts.Linger == 0 || len(p.queue) >= enough || p.opts.Hurries != nil && p.opts.Hurries(done)
	wake := len(p.queue) == 1 || hurries && !p.hurry
	p.hurry = p.hurry || hurries
	p.mu.Unlock()
	if wake {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// enough is how many messages wait for no others: a sync each costs little then.
const enough = 256

func (p *Publisher) full(it item) bool {
	return len(p.queue) > 0 && (len(p.queue) >= p.opts.MaxQueue || p.bytes+it.size > p.opts.MaxQueueBytes)
}

// Publish hands a message over and waits for its outcome. When ctx ends first,
// the outcome is not known.
func (p *Publisher) Publish(ctx context.Context, msg *nats.Msg) error {
	done := make(waiter, 1)
	if err := p.Enqueue(ctx, msg, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

type waiter chan error

func (w waiter) Published(err error) { w <- err }

func (p *Publisher) run() {
	defer close(p.finished)
	defer p.reset.stop()
	defer func() {
		if p.answers != nil {
			_ = p.answers.sub.Unsubscribe()
		}
	}()
	var batch []item
	for p.linger() {
		batch = p.take(batch[:0])
		p.send(batch)
		clear(batch)
	}
	p.drain() // what waits at the end is not sent any more
}

// linger waits until there is something to send that need not wait for more. It returns
// false when the publisher is closed.
func (p *Publisher) linger() bool {
	var over <-chan time.Time // the time to linger; nil: nothing waits
	for p.ctx.Err() == nil {
		p.mu.Lock()
		some, hurry := len(p.queue) > 0, p.hurry
		p.mu.Unlock()
		switch {
		case some && hurry:
			return true
		case some && over == nil:
			over = time.After(p.opts.Linger)
		}
		select {
		case <-p.wake:
		case <-over:
			return true
		case <-p.ctx.Done():
		}
	}
	return false
}

// take moves the next batch out of the queue.
func (p *Publisher) take(batch []item) []item {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, size := 0, 0
	for n < len(p.queue) && n < p.opts.MaxBatch && (n == 0 || size+p.queue[n].size <= p.opts.MaxBatchBytes) {
		size += p.queue[n].size
		n++
	}
	batch = append(batch, p.queue[:n]...)
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	p.bytes -= size
	p.hurry = p.hurry && rest > 0
	if n > 0 {
		p.room.Broadcast()
	}
	return batch
}

func (p *Publisher) drain() {
	p.mu.Lock()
	p.closed = true
	left := p.queue
	p.queue, p.bytes = nil, 0
	p.room.Broadcast()
	p.mu.Unlock()
	complete(left, ErrClosed)
}

func complete(items []item, err error) {
	for i := range items {
		if err != nil {
			items[i].unstage()
		}
		items[i].done.Published(err)
	}
}

func (p *Publisher) setHeld(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = err
}
