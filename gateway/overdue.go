package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

const (
	overdueEvery = time.Second
	// lateAfter is how long after its time a schedule counts as one that does not
	// fire. A server fires them within a second, unless very many are due at once.
	lateAfter = 15 * time.Second
	// againAfter is how long one that was set anew is given.
	againAfter = 5 * time.Second
	// One that is overdue by alarmAfter is alarming. When there is one for longer
	// than those that are set anew need to fire, alarmFor, the gateway is not ready
	// for it; after helpAfter the embedded server is restarted, at most every
	// helpEvery: what is stored fires then.
	alarmAfter, alarmFor, helpAfter, helpEvery = time.Minute, 20 * time.Second, time.Minute, 15 * time.Minute

	// What one look may cost: messages read, of which few are when all is well, and
	// schedules set anew, each of which is a write.
	overdueReads, overdueHurry = 1000, 4000
	overdueTime                = 500 * time.Millisecond
	// overdueKnown bounds the schedules that are kept in mind, 24 bytes each.
	overdueKnown = 1 << 18
)

// overdue watches that schedules fire, and sets those anew that do not.
//
// The server (2.15) marks a schedule that fires as under way, and forgets it if it
// cannot store what it becomes, because the storage is full: it never fires again
// before the server is started anew. And a schedule that was made while the clock
// of the server was ahead waits for that much longer when the clock is set back.
//
// To publish a schedule again on its own subject, with another id or none, makes
// the server take it up. That must not give a delivery a second life when it
// fires in between: the publish expects the message that was read to be the last
// one of its subject ([setAnew]). So any number of replicas may do this at once.
//
// When a schedule is due stands only in the message. Each is read once, after it
// has been there for longer than most wait, and once more when it should be gone.
type overdue struct {
	js     jetstream.JetStream
	names  wire.Names
	server *broker.Server // nil: an external NATS
	clock  *servertime.Clock
	health *health
	log    *zap.Logger
	seen   *overdueSeen
	after  time.Duration // when a schedule counts as one that does not fire; 0: lateAfter

	// Of the goroutine.
	known   timeline
	next    uint64           // what is stored from here on was not read yet
	created time.Time        // of the stream that next belongs to
	late    map[uint64]late  // schedules that did not fire, by their sequences
	step    *servertime.Step // the latest that was heeded
	links   uint64           // how often the connection was made anew
	doubted bool             // the store failed when it was last looked
	alarmed time.Time        // since when one is overdue by alarmAfter; zero: none is
	helped  time.Time        // when the server was restarted for them
}

// late is a schedule that did not fire.
type late struct {
	due  time.Time
	anew time.Time // not before is it set anew; the zero time: it was not yet
}

// overdueSeen is what others may know of it.
type overdueSeen struct {
	age  atomic.Int64 // of the schedule that is overdue for longest, ns
	anew prometheus.Counter
}

func newOverdueSeen(reg prometheus.Registerer) *overdueSeen {
	f := promauto.With(reg)
	s := &overdueSeen{
		anew: f.NewCounter(prometheus.CounterOpts{
			Name: "fanjet_retries_set_anew_total", Help: "Retries whose schedule did not fire, or would fire too late, and was published again.",
		}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fanjet_retry_overdue_seconds", Help: "How long the retry is overdue that waits for longest since its schedule did not fire; 0 if there is none.",
	}, func() float64 { return s.overdue().Seconds() })
	return s
}

func (s *overdueSeen) overdue() time.Duration { return time.Duration(s.age.Load()) }

// run watches until ctx ends.
func (o *overdue) run(ctx context.Context) {
	o.init()
	failing := false
	repeat(ctx, overdueEvery, func() {
		if !o.js.Conn().IsConnected() {
			return
		}
		now, err := o.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			o.log.Warn("cannot look whether retries are overdue; it is tried again", zap.Error(err))
		}
		failing = err != nil
		if !now.IsZero() {
			o.tell(now, time.Now())
		}
	})
}

func (o *overdue) init() {
	o.after = cmp.Or(o.after, lateAfter)
	o.known.limit = overdueKnown
	o.late = make(map[uint64]late)
}

// look looks once. It returns the server's time, if that is known.
func (o *overdue) look(ctx context.Context) (now time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ctx, answered := jsapi.WhileConnected(ctx, o.js.Conn())
	defer answered()
	asked := o.clock.Here()
	stream, err := o.js.Stream(ctx, o.names.RetriesStream())
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot look at the stream %s: %w", o.names.RetriesStream(), err)
	}
	info := stream.CachedInfo()
	now = o.clock.Observe(info.TimeStamp, asked, o.clock.Here())
	if s := o.clock.Step(); s != o.step {
		o.step = s
		o.startAnew()
	}
	// Another stream, or one that lost its end; or schedules that were left out.
	again := o.doubtful()
	if again || !info.Created.Equal(o.created) || info.State.LastSeq+1 < o.next || o.known.incomplete(now) {
		o.created = info.Created
		o.startAnew()
	}
	b := &budget{reads: overdueReads, until: time.Now().Add(overdueTime)}
	if len(o.late) > 0 {
		b.reads = overdueHurry
	}
	if err := o.check(ctx, now, b); err != nil {
		return now, err
	}
	return now, o.read(ctx, now, info.State.LastSeq, b)
}

// doubtful reports whether what was read until now may be wrong, because a store
// failed meanwhile or the server was another one. A server that cannot open the
// files of a stream says that their messages are not there, and its scheduler
// believes that, too: it forgets the schedules, also over an orderly restart
// (nats-server 2.15.3). Here they would be taken for fired, and nobody would know
// of them any more.
func (o *overdue) doubtful() bool {
	failing := o.health.fails(partStore) || o.health.fails(partStorage)
	links := o.js.Conn().Stats().Reconnects
	again := links != o.links || o.doubted && !failing
	o.links, o.doubted = links, failing
	return again
}

// startAnew has everything read anew.
func (o *overdue) startAnew() {
	o.next = 1
	o.known.clear()
	clear(o.late)
}

// budget is what is left of what a look may cost.
type budget struct {
	reads int
	until time.Time
}

func (b *budget) spend() (ok bool) {
	b.reads--
	return b.reads >= 0 && time.Now().Before(b.until)
}

// check looks at the schedules that should have fired by now.
func (o *overdue) check(ctx context.Context, now time.Time, b *budget) error {
	due := o.known.take(now, b.reads)
	for i := 0; i < len(due); {
		if !b.spend() {
			o.postpone(due[i:], now)
			return nil
		}
		found, err := o.schedule(ctx, due[i].seq)
		if err != nil && !errors.Is(err, jsapi.ErrNoMessage) {
			o.postpone(due[i:], now)
			return err
		}
		// Those before the one that was found have fired.
		for ; i < len(due) && (found == nil || due[i].seq < found.seq); i++ {
			delete(o.late, due[i].seq)
		}
		if i < len(due) && due[i].seq == found.seq {
			if err := o.judge(ctx, found, now); err != nil {
				o.postpone(due[i+1:], now)
				return err
			}
			i++
		}
	}
	return nil
}

// postpone puts schedules back that were not looked at.
func (o *overdue) postpone(due []planned, now time.Time) {
	for _, p := range due {
		o.known.add(p.seq, time.Unix(0, p.due), now)
	}
}

// read reads schedules that were not read yet, but for the newest: most are gone
// before they are that old.
func (o *overdue) read(ctx context.Context, now time.Time, last uint64, b *budget) error {
	for o.next <= last {
		if !b.spend() {
			return nil
		}
		found, err := o.schedule(ctx, o.next)
		if errors.Is(err, jsapi.ErrNoMessage) {
			o.next = last + 1
			return nil
		}
		if err != nil {
			return err
		}
		if age := now.Sub(found.stored); age < o.after && age > -servertime.StepTolerance {
			return nil // neither this one nor what is behind it
		}
		o.next = found.seq + 1
		if err := o.judge(ctx, found, now); err != nil {
			return err // it is known now, and looked at again
		}
	}
	return nil
}

// tell says how it is, and has the embedded server restarted when nothing else
// helps.
func (o *overdue) tell(now, local time.Time) {
	var age time.Duration
	for _, l := range o.late {
		age = max(age, now.Sub(l.due))
	}
	o.seen.age.Store(int64(age))
	switch {
	case age < alarmAfter:
		o.alarmed = time.Time{}
	case o.alarmed.IsZero():
		o.alarmed = local
	}
	if o.alarmed.IsZero() || local.Sub(o.alarmed) < alarmFor {
		o.health.set("retries", nil)
		return
	}
	fix := "if it has room, restart it"
	if o.server != nil {
		fix = "it is restarted soon, if that lasts"
	}
	// Without a figure that changes with every look.
	o.health.set("retries", fmt.Errorf("retries are overdue: the NATS server does not make deliveries of them, although they were set anew; %s", fix))
	if o.server == nil || local.Sub(o.alarmed) < helpAfter || !o.helped.IsZero() && local.Sub(o.helped) < helpEvery {
		return
	}
	o.helped = local
	if err := o.server.Restart("its schedules do not fire"); err != nil {
		o.log.Error("the embedded NATS server cannot be restarted; it is tried again", zap.Error(err))
	}
}
