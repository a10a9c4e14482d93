package dlq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
)

const (
	defaultInFlight = 1000
	// queueBytes bounds the bodies that wait to be published.
	queueBytes = 16 << 20
	// settleGrace is how long a replay that has to stop goes on removing the
	// letters that it has published.
	settleGrace = 10 * time.Second
)

var (
	errInterrupted = errors.New("interrupted before NATS acknowledged the delivery; replay it again within two minutes, and it is delivered once")
	errNotRemoved  = errors.New("it was replayed, but the letter could not be removed; replay it again within two minutes, and it is removed without a second delivery")
	errDoesNotFit  = errors.New("it does not fit into a NATS message together with Fanjet's headers; raise max_payload of the NATS server")
)

// run is a replay in progress: letters go through the publisher, then through
// the removers.
type run struct {
	tally
	publisher *publish.Publisher
	now       func() time.Time
	beside    *besides
	inFlight  chan struct{}   // a slot a letter, from publish to removal
	checks    chan *delivered // those that waited too long; has room for all that are in flight
	removals  chan<- removal  // has room for all that are in flight
	stopped   atomic.Pointer[error]
	grace     time.Duration

	stopChecks, stopRemovals     context.CancelFunc
	finishChecks, finishRemovals func()
	stopBeside, stopReport       func()
}

func (q *Queue) startRun(ctx context.Context, o ReplayOptions) *run {
	n := cmp.Or(o.InFlight, defaultInFlight)
	r := &run{
		publisher: publish.New(publish.Options{
			Conn:          q.js.Conn(),
			Stream:        q.names.DeliveriesStream(),
			Fresh:         func(c publish.Completion) bool { return c.(*delivered).fresh() },
			Known:         func(c publish.Completion) { c.(*delivered).known = true },
			FailWhenFull:  true,
			MaxQueueBytes: queueBytes,
		}),
		now:      q.now,
		inFlight: make(chan struct{}, n),
		checks:   make(chan *delivered, n),
		grace:    q.grace,
	}
	r.beside, r.stopBeside = q.startBesides(&r.tally)
	checking, stopChecks := context.WithCancel(ctx)
	r.stopChecks = stopChecks
	r.finishChecks = q.startChecks(checking, r)
	// Letters that were published are to be removed even when ctx has ended.
	removing, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stopRemovals = stop
	r.removals, r.finishRemovals = q.startRemovers(removing, n)
	r.stopReport = r.report(o.Progress, r.publisher.Held)
	return r
}

// publish hands the delivery of a letter over. It blocks while too many are in
// flight; an error stops the replay.
func (r *run) publish(ctx context.Context, l *Letter, m *nats.Msg) error {
	select {
	case r.inFlight <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.stopped.Load(); err != nil {
		<-r.inFlight
		return *err
	}
	d := &delivered{
		run: r, message: m, seq: l.Seq, endpoint: l.Endpoint, stored: l.DeadLettered, seen: l.read, round: r.beside.begin(),
	}
	err := r.publisher.Enqueue(ctx, m, d)
	if err != nil {
		d.settled()
	}
	return err
}

// stop ends the replay at the next letter, because the others would fare no
// better.
func (r *run) stop(err error) { r.stopped.CompareAndSwap(nil, &err) }

// delivered is the completion of one letter's delivery.
type delivered struct {
	run      *run
	message  *nats.Msg
	seq      uint64
	endpoint string
	stored   time.Time // the letter
	seen     time.Time // in the queue, the last time
	round    int       // see besides
	known    bool      // NATS had the delivery: another replay, or one before this, made it
}

// fresh reports whether the delivery may be published without another look at
// its letter.
func (d *delivered) fresh() bool { return !old(d.seen, d.run.now()) && d.run.beside.isOf(d.seen) }

// settled counts the letter out.
func (d *delivered) settled() {
	d.run.beside.settle(d.round)
	<-d.run.inFlight
}

// Published implements [publish.Completion]. A delivery that JetStream had
// already is as good as a new one: a replay before this one made it.
func (d *delivered) Published(err error) {
	if err == nil {
		failpoint.Hit(failpoint.ReplayStored)
		d.run.removals <- removal{seq: d.seq, after: d.removed}
		return
	}
	switch {
	case errors.Is(err, publish.ErrStale):
		d.run.checks <- d
		return
	case errors.Is(err, publish.ErrClosed):
		err = errInterrupted
	case publish.IsTooLarge(err):
		err = fmt.Errorf("%w (%w)", errDoesNotFit, err)
	case errors.Is(err, publish.ErrFull):
		d.run.stop(fmt.Errorf("NATS has no room for more deliveries: %w", err))
	}
	d.run.failed(d.seq, d.endpoint, err)
	d.settled()
}

func (d *delivered) removed(gone bool, err error) {
	switch {
	case err != nil:
		err = fmt.Errorf("%w (%w)", errNotRemoved, err)
		d.run.failed(d.seq, d.endpoint, err)
		d.run.stop(fmt.Errorf("letter %d: %w", d.seq, err))
	case gone:
		d.run.skipped()
		if !d.known {
			d.run.beside.wasGone(d.endpoint)
		}
	default:
		d.run.done()
	}
	d.settled()
}

// finish waits for the letters in flight. Once ctx has ended, or when the
// replay is to stop, it waits no longer than the grace.
func (r *run) finish(ctx context.Context, stop bool) {
	settled := 0
	wait := func(ctx context.Context) {
		for settled < cap(r.inFlight) {
			select {
			case r.inFlight <- struct{}{}:
				settled++
			case <-ctx.Done():
				return
			}
		}
	}
	if !stop {
		wait(ctx)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.grace)
	defer cancel()
	wait(grace)
	r.stopChecks()
	r.publisher.Close()
	r.finishChecks()
	r.stopRemovals()
	r.finishRemovals()
	r.stopBeside()
	r.stopReport()
}
