// Package overdue finds retries that should have come due and did not, and makes the
// server take them up.
//
// A retry waits as a message with a schedule, which the server fires. A [Watch] reads
// each once, keeps in mind when it is due, and publishes it again when it is still there
// after that. What it lives with, in nats-server 2.15:
//   - The server marks a schedule that fires as under way, and forgets it if it cannot
//     store what it becomes, because the storage is full: it never fires again before the
//     server is started anew. To publish it again on its own subject, with another id or
//     none, takes the mark away.
//   - That must not give a delivery a second life when the schedule fires in between: the
//     publish expects the message that was read to be the last one of its subject. So any
//     number of replicas may do this at once.
//   - When a schedule is due stands only in the headers of its message. So each is read
//     once (57 µs, 1,000 a second at most), after it has been there for longer than most
//     wait, and once more when it should be gone.
//   - A schedule that was made while the clock of the server was ahead waits for that much
//     longer when the clock is set back. It is planned anew.
//   - A server that cannot open the files of a stream says that their messages are not
//     there, and forgets the schedules, over an orderly restart too. That looks as if they
//     had fired; so all are read anew after every new connection, and when a store works
//     again.
//   - Nothing else may help than a new start of the server, which fires what is stored.
package overdue

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

const (
	lookEvery = time.Second
	// lateAfter is how long after its time a schedule counts as one that does not
	// fire. A server fires them within a second, unless very many are due at once.
	lateAfter = 15 * time.Second
	// againAfter is how long one that was set anew is given.
	againAfter = 5 * time.Second

	// What one look may cost: messages read, of which few are when all is well, and
	// schedules set anew, each of which is a write.
	mostReads, mostReadsInHurry = 1000, 4000
	mostTime                    = 500 * time.Millisecond
	// mostKnown bounds the schedules that are kept in mind, 24 bytes each.
	mostKnown = 1 << 18
)

// Options say what a [Watch] works with. All are required unless they say otherwise.
type Options struct {
	JetStream jetstream.JetStream
	Names     wire.Names
	Clock     *servertime.Clock
	Metrics   *Metrics
	Log       *zap.Logger
	// Report hears why retries do not come due although they were set anew, and with
	// nil, at every look, that they do.
	Report func(error)
	// StoreFails reports whether a store of NATS takes nothing for the moment: what it
	// says that it holds may be wrong then.
	StoreFails func() bool
	// Restart starts the server anew, for a reason; nil: it is not ours.
	Restart func(reason string) error
	// After is how long after its time a schedule counts as one that does not fire;
	// default 15 s. Tests shorten it.
	After time.Duration
}

// Watch watches that schedules fire, and sets those anew that do not. All replicas may
// do so at once.
type Watch struct {
	opts  Options
	names wire.Names

	// Of the goroutine.
	known   timeline
	next    uint64           // what is stored from here on was not read yet
	created time.Time        // of the stream that next belongs to
	late    map[uint64]late  // schedules that did not fire, by their sequences
	step    *servertime.Step // the latest that was heeded
	links   uint64           // how often the connection was made anew
	doubted bool             // the store failed when it was last looked
	failing bool             // the latest look failed
	alarmed time.Time        // since when one is overdue by alarmAfter; zero: none is
	helped  time.Time        // when the server was restarted for them
}

// late is a schedule that did not fire.
type late struct {
	due  time.Time
	anew time.Time // not before is it set anew; the zero time: it was not yet
}

// New returns a watch that begins with [Watch.Run].
func New(o Options) *Watch {
	o.After = cmp.Or(o.After, lateAfter)
	return &Watch{opts: o, names: o.Names, known: timeline{limit: mostKnown}, late: make(map[uint64]late)}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.round(ctx)
		}
	}
}

// round looks once and tells what was found, if there is a connection.
func (w *Watch) round(ctx context.Context) {
	if !w.opts.JetStream.Conn().IsConnected() {
		return
	}
	now, err := w.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil && !w.failing {
		w.opts.Log.Warn("cannot look whether retries are overdue; it is tried again", zap.Error(err))
	}
	w.failing = err != nil
	if !now.IsZero() {
		w.tell(now, time.Now())
	}
}

// look looks once. It returns the server's time, if that is known.
func (w *Watch) look(ctx context.Context) (now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx, answered := jsapi.WhileConnected(ctx, w.opts.JetStream.Conn())
	defer answered()
	asked := w.opts.Clock.Here()
	stream, err := w.opts.JetStream.Stream(ctx, w.names.RetriesStream())
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look at the stream %s: %w", w.names.RetriesStream(), err)
	}
	info := stream.CachedInfo()
	now = w.opts.Clock.Observe(info.TimeStamp, asked, w.opts.Clock.Here())
	if s := w.opts.Clock.Step(); s != w.step {
		w.step = s
		w.startAnew()
	}
	// Another stream, or one that lost its end; or schedules that were left out.
	again := w.doubtful()
	if again || !info.Created.Equal(w.created) || info.State.LastSeq+1 < w.next || w.known.incomplete(now) {
		w.created = info.Created
		w.startAnew()
	}
	b := &budget{reads: mostReads, until: time.Now().Add(mostTime)}
	if len(w.late) > 0 {
		b.reads = mostReadsInHurry
	}
	if err := w.check(ctx, now, b); err != nil {
		return now, err
	}
	return now, w.read(ctx, now, info.State.LastSeq, b)
}

// doubtful reports whether what was read until now may be wrong, because a store
// failed meanwhile or the server was another one. A server that cannot open the
// files of a stream says that their messages are not there, and its scheduler
// believes that, too: it forgets the schedules, also over an orderly restart
// (nats-server 2.15.3). Here they would be taken for fired, and nobody would know
// of them any more.
func (w *Watch) doubtful() bool {
	failing := w.opts.StoreFails()
	links := w.opts.JetStream.Conn().Stats().Reconnects
	again := links != w.links || w.doubted && !failing
	w.links, w.doubted = links, failing
	return again
}

// startAnew has everything read anew.
func (w *Watch) startAnew() {
	w.next = 1
	w.known.clear()
	clear(w.late)
}
