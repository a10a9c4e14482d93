package intake

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/jsapi"
)

// Options configure an [Intake].
type Options struct {
	Conn             *nats.Conn // required
	Stream, Consumer string     // what to receive from; required
	Prefix           string     // of JetStream's API; default "$JS.API", in a domain "$JS.<domain>.API"
	// Open makes sure that the consumer exists. It is called before receiving,
	// and again, after a pause, whenever receiving failed. Its context ends when
	// the connection is lost. Required.
	Open func(ctx context.Context) error
	// Handle takes a message. It must not block; the message is held until it
	// is settled. Required.
	Handle func(*Message)
	// State, if set, hears why nothing can be received, and nil when it can
	// again. A failure that the next try mends is not told: a consumer that
	// changes its server, or was deleted and is made again, or a busy server that
	// leaves one request without an answer.
	State func(error)

	Group       string        // priority group of the consumer, if it has one
	Window      int           // messages held at once; default 4,096; [Intake.SetWindow] changes it
	WindowBytes int           // bytes held at once; default 64 MiB, at least twice the server's max_payload
	Remember    int           // settled messages that are known when they come again; default 16,384
	Beat        time.Duration // how often a held message is reported in progress; required, well below the consumer's AckWait
	// AckWait is that of the consumer; with it it is known when the server has given a
	// held message to others, see [Message.Lapsed]. Default: that is never known.
	AckWait time.Duration
	// ServerTime returns the time by the clock of the NATS server, which is the
	// one of [Message.Stored]; default: time.Now. It decides which messages are
	// older than a beat when they come, see [Intake.Beat].
	ServerTime func() time.Time
}

// Intake receives from one consumer. Its methods may be called concurrently.
type Intake struct {
	opts     Options
	minBytes int // ask for no less, or a large message would never fit

	mu      sync.Mutex
	changed sync.Cond // the window got emptier or larger, or closing
	window  int
	held    map[uint64]*Message
	bytes   int
	young   list // held messages that were not reported yet, in order of receipt
	beats   list // those that were, the one whose beat is due first in front
	settled recent
	asked   time.Time // when messages were last asked for: none that comes was sent before
	life    uint64    // how often the connection was made anew when messages were last asked for
	last    ack       // the latest one
	tell    teller
}

// ack is an acknowledgement that was sent.
type ack struct {
	reply string // empty: there was none
	life  uint64 // of the connection when the message came
}

// New returns an intake that receives once [Intake.Run] is called.
func New(o Options) *Intake {
	maxPayload := int(o.Conn.MaxPayload())
	o.Window = cmp.Or(o.Window, 4096)
	if o.ServerTime == nil {
		o.ServerTime = time.Now
	}
	o.WindowBytes = max(cmp.Or(o.WindowBytes, 64<<20), 2*maxPayload+128<<10)
	in := &Intake{
		opts:     o,
		minBytes: maxPayload + 64<<10,
		window:   o.Window,
		held:     make(map[uint64]*Message),
		settled:  recent{limit: cmp.Or(o.Remember, 1<<14)},
	}
	in.changed.L = &in.mu
	in.tell.init(o.Conn)
	in.young.init()
	in.beats.init()
	return in
}

// Run receives until ctx ends, then stops asking for messages and returns. A
// message that is held stays held: settle it, then call [Intake.Flush].
func (in *Intake) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		in.mu.Lock()
		in.changed.Broadcast()
		in.mu.Unlock()
	})
	defer stop()

	const minPause, maxPause = 50 * time.Millisecond, 2 * time.Second
	pause := minPause
	for again := false; ctx.Err() == nil; again = true {
		err := in.open(ctx)
		if err == nil {
			var received bool
			received, err = in.receive(ctx)
			if received {
				pause, again = minPause, false
			}
		}
		if ctx.Err() != nil {
			return
		}
		if again {
			in.state(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// open calls Open. A question to a server whose connection breaks is never
// answered: it is not waited for.
func (in *Intake) open(ctx context.Context) error {
	ctx, cancel := jsapi.WhileConnected(ctx, in.opts.Conn)
	defer cancel()
	err := in.opts.Open(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (in *Intake) state(err error) {
	if in.opts.State != nil {
		in.opts.State(err)
	}
}

// Bounds of one pull request. The client allocates for all of maxFetch; less
// than minFetch is not worth a round trip, unless nothing more gets free.
const (
	minFetch = 128
	maxFetch = 512
)

// SetWindow changes how many messages are held at once, from 0. A message that
// is held beyond it stays; nothing more is asked for until there is room.
func (in *Intake) SetWindow(n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n > in.window {
		in.changed.Broadcast()
	}
	in.window = n
}

// credit waits until there is room, and returns how many messages and bytes to
// ask for.
func (in *Intake) credit(ctx context.Context) (count, size int) {
	count, size, held := in.room(ctx)
	if count >= minFetch || held < minFetch {
		return count, size
	}
	select { // the window is nearly full: let some more of it empty
	case <-time.After(2 * time.Millisecond):
	case <-ctx.Done():
	}
	count, size, _ = in.room(ctx)
	return count, size
}

// room waits until there is any room.
func (in *Intake) room(ctx context.Context) (count, size, held int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for ctx.Err() == nil {
		count = in.window - len(in.held)
		size = in.opts.WindowBytes - in.bytes
		if count > 0 && size >= in.minBytes {
			return min(count, maxFetch), size, len(in.held)
		}
		in.changed.Wait()
	}
	return 0, 0, 0
}

// admit takes a message that the server sent.
func (in *Intake) admit(msg *nats.Msg) {
	meta, ok := readReply(msg.Reply)
	if !ok {
		return // an ack subject that nobody could answer
	}
	seq, stored := meta.sequence, meta.stored
	size := sizeOf(msg)
	now := time.Now()
	age := max(in.opts.ServerTime().Sub(stored), 0)
	old := age >= in.opts.Beat

	in.mu.Lock()
	// It may have lain in the socket while the process stood still, and be somebody else's
	// by now. It was sent after it was asked for, and after it was stored.
	sent := now.Add(-age)
	if in.asked.After(sent) {
		sent = in.asked
	}
	lapsed := in.lapsesSince(sent, now)
	if in.settled.has(seq, stored) {
		// Its ack was lost. It was settled; say so again.
		in.mu.Unlock()
		_ = in.opts.Conn.Publish(msg.Reply, ackAck)
		return
	}
	if m := in.held[seq]; m != nil && m.Stored.Equal(stored) {
		// Still being worked on. Its consumer may have been made anew, and would
		// not understand an answer to what the old one sent.
		m.reply, m.life, m.lapsed = msg.Reply, in.life, lapsed
		if old {
			in.beat(m, now)
		}
		in.mu.Unlock()
		if old && !lapsed {
			in.report(msg.Reply)
		}
		return
	}
	m := &Message{
		Msg: msg, Stream: meta.stream, Sequence: seq, Stored: stored, Received: now, Age: age, Deliveries: meta.deliveries, Delivery: meta.delivery, Pending: meta.pending,
		in: in, reply: msg.Reply, life: in.life, size: size, beaten: now.Add(-age), waits: &in.young,
	}
	if in.opts.Group != "" {
		m.Pin = pinOf(msg)
	}
	in.held[seq] = m
	in.bytes += size
	m.waits.pushBack(m)
	if old {
		in.beat(m, now)
		m.lapsed = lapsed
	}
	in.mu.Unlock()

	if old && !lapsed {
		in.report(msg.Reply)
	}
	in.opts.Handle(m)
}

// sizeOf is roughly what a held message takes in memory: its text, and what it
// is wrapped in.
func sizeOf(msg *nats.Msg) int { return msg.Size() + 512 + 64*len(msg.Header) }

// release forgets a held message, and has the server told a word about it, if there is
// one; settled says that it is for good.
func (in *Intake) release(m *Message, word []byte, settled bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if m.released {
		return
	}
	m.released = true
	wasFull := in.full()
	if in.held[m.Sequence] == m {
		delete(in.held, m.Sequence)
	}
	in.bytes -= m.size
	m.waits.remove(m)
	if settled {
		in.settled.add(m.Sequence, m.Stored)
		in.last = ack{m.reply, m.life}
	}
	if word != nil {
		in.tell.say(m.reply, word)
	}
	if wasFull || len(in.held) == 0 {
		in.changed.Broadcast()
	}
}

// Full reports whether nothing is asked for until something is settled or given
// back.
func (in *Intake) Full() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.full()
}

// full reports whether there is no room. The caller holds mu.
func (in *Intake) full() bool {
	return len(in.held) >= in.window || in.opts.WindowBytes-in.bytes < in.minBytes
}

// Held returns how many messages are held.
func (in *Intake) Held() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.held)
}

// Wait waits until nothing is held, or ctx ends.
func (in *Intake) Wait(ctx context.Context) error {
	return waitUntil(ctx, &in.changed, func() bool { return len(in.held) == 0 })
}

// Flush waits until the server has processed every ack so far: an ack that is
// still on its way when the process exits is lost. The server handles the acks
// of a connection in order, so it asks for an answer to a repetition of the
// latest one.
//
// A server that was killed may have forgotten that it handed the message out, and
// answers nothing then, ever (nats-server 2.15.3, processAckMsgLocked). It sends the
// message again to somebody; there is nothing to wait for.
func (in *Intake) Flush(ctx context.Context) error {
	if err := in.tell.wait(ctx); err != nil {
		return notSure(err)
	}
	in.mu.Lock()
	last := in.last
	in.mu.Unlock()
	if last.reply == "" {
		return in.opts.Conn.FlushWithContext(ctx)
	}
	for {
		// One that meets a change of the consumer's leader is never answered.
		try, cancel := context.WithTimeout(ctx, flushTry)
		_, err := in.opts.Conn.RequestWithContext(try, last.reply, ackAck)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return notSure(err)
		}
		if in.opts.Conn.Stats().Reconnects != last.life {
			return in.opts.Conn.FlushWithContext(ctx)
		}
		select {
		case <-try.Done():
		case <-time.After(flushTry / 10): // not answered, but refused
		}
	}
}

func notSure(err error) error {
	return fmt.Errorf("cannot make sure that the last acks arrived: %w", err)
}

// flushTry is how long one question of [Intake.Flush] waits for its answer.
const flushTry = time.Second
