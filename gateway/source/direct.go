package source

import (
	"context"
	"time"

	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// Direct is who makes deliveries that are not stored; a [subscriber.Dispatcher] is one.
type Direct interface {
	// TakesDirect reports whether any are made at present.
	TakesDirect() bool
	// Room asks for room for n deliveries, and may wait for it, with hurry but for a
	// moment; Free gives it back.
	Room(n int, hurry bool) bool
	Free(n int)
	// Offer hands one over, or says why it must be stored. It does not block.
	Offer(endpoint string, x *subscriber.Direct) subscriber.Why
	// Secure has one stored that takes too long.
	Secure(x *subscriber.Direct)
	// CameDue reports whether a retry of a delivery came here lately.
	CameDue(key string) bool
}

const (
	// maxDirect is the largest fan-out of an event that is delivered directly: a crash
	// repeats what was delivered of it.
	maxDirect = 16
	// scheduleHeaders is more than what a retry adds to an event, in bytes, apart from
	// names and subject.
	scheduleHeaders = 2048
	// beginWithin is how long ago the server heard at most that an event is held when an
	// attempt begins of it: half a second later it may be somebody else's.
	beginWithin = topology.MatchAckWait - 500*time.Millisecond
	// offerWithin is how long an event waited here at most when it is offered.
	offerWithin = holdFor / 2
	// orderedLately is how long a matcher hurries after it had something for an ordered
	// endpoint, which gets its events at the pace of matching.
	orderedLately = time.Second
)

// whyStored says why the deliveries of an event are stored; [subscriber.Taken]: those are
// offered whose endpoints may take them.
func (m *Matcher) whyStored(f *fanout, own bool) subscriber.Why {
	msg := f.msg
	now := time.Now()
	waited := now.Sub(msg.Received)
	if int64(waited) > m.held.waited.Load() {
		m.held.waited.Store(int64(waited)) // nobody else makes it more
	}
	switch {
	case f.again:
		return subscriber.WhyAgain
	case m.opts.Direct == nil, own, !m.opts.Direct.TakesDirect(), m.held.overdue.Load():
		return subscriber.WhyOff
	case len(f.deliveries) > maxDirect:
		return subscriber.WhyWide
	case int64(msg.Msg.Size()+2*len(msg.Msg.Subject)+scheduleHeaders) > m.maxPayload:
		return subscriber.WhyLarge
	case waited > offerWithin:
		return subscriber.WhyLate
	case !f.fresh(now):
		return subscriber.WhyStale
	}
	return subscriber.Taken
}

// fresh reports whether nobody else can have the event.
func (f *fanout) fresh(now time.Time) bool {
	return f.msg.Silence(now) < beginWithin && f.matcher.held.connected.Load()
}

// offer hands the deliveries of an event to their endpoints, and has those stored that
// are not taken. What is for a lane is stored first, and waits for no room.
func (m *Matcher) offer(f *fanout) {
	n := 0
	for i := range f.deliveries {
		d := &f.deliveries[i]
		laned, ordered := m.opts.Lanes.Route(d.endpoint)
		if ordered {
			m.ordered = time.Now()
		}
		if d.stored = laned; laned {
			d.store(subscriber.WhyEndpoint)
		} else {
			n++
		}
	}
	if n == 0 {
		return
	}
	room := m.opts.Direct.Room(n, time.Since(m.ordered) < orderedLately)
	if room {
		f.room = n
		f.envelope = wire.Envelope{EventID: f.id, Subject: f.msg.Msg.Subject, Accepted: f.msg.Stored, Attempt: 1}
		m.held.add(f)
	}
	for i := range f.deliveries {
		d := &f.deliveries[i]
		if d.stored {
			continue
		}
		why := subscriber.WhyRoom
		if room {
			d.direct = subscriber.Direct{Owner: d, Event: f.msg, Envelope: &f.envelope}
			if why = m.opts.Direct.Offer(d.endpoint, &d.direct); why == subscriber.Taken {
				d.out.CompareAndSwap(notOut, isOut) // or it is back already
				m.opts.Metrics.direct.Inc()
				continue
			}
		}
		d.store(why)
	}
}

// A fanoutDelivery owns its direct delivery.

// Settled implements [subscriber.Owner].
func (d *fanoutDelivery) Settled(stored bool) {
	d.out.Store(isBack)
	if stored {
		d.fanout.noteStored()
	}
	if d.fanout.pending.Load() > 1 {
		failpoint.Hit(failpoint.DirectSettled)
	}
	d.fanout.done(true)
}

// WriteDown implements [subscriber.Owner].
func (d *fanoutDelivery) WriteDown(why subscriber.Why) {
	d.out.Store(isBack)
	d.earlier = true
	d.why = why
	d.fanout.matcher.held.writeDown(d)
}

// Envelope implements [subscriber.Owner].
func (d *fanoutDelivery) Envelope() wire.Envelope { return d.envelope() }

// HopID implements [subscriber.Owner].
func (d *fanoutDelivery) HopID() string { return d.fanout.pos.FanoutID(d.endpoint) }

// Fresh implements [subscriber.Owner].
func (d *fanoutDelivery) Fresh(now time.Time) bool { return d.fanout.fresh(now) }

// Lapsed implements [subscriber.Owner].
func (d *fanoutDelivery) Lapsed() bool { return d.fanout.msg.Lapsed() }

// claim makes the mark ours, because this matcher gets the events now. latest is one that
// it got.
func (m *Matcher) claim(ctx context.Context, latest *intake.Message) {
	m.lives.Store(nil)
	fresh := m.untouched.Load() && latest.Delivery == 1
	m.mark.claim(ctx, *m.created.Load(), latest.Sequence, fresh, func(ctx context.Context) (reached, error) {
		stream, err := m.opts.JetStream.Stream(ctx, m.stream)
		if err != nil {
			return reached{}, err
		}
		consumer, err := stream.Consumer(ctx, m.names.MatchConsumer())
		if err != nil {
			return reached{}, err
		}
		// A leader that was just elected may know less of the stream than the consumer's,
		// and this event.
		sent := consumer.CachedInfo().Delivered.Stream
		return reached{max(stream.CachedInfo().State.LastSeq, sent, latest.Sequence), min(sent, latest.Sequence-1)}, nil
	})
	if !m.mark.owned.Load() {
		return
	}
	ask, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
	defer answered()
	found, err := m.readLives(ask)
	switch {
	case err == nil && found != nil:
		m.lives.Store(&found)
	case err != nil && ctx.Err() == nil:
		m.log.Warn("schedules cannot be read at once; each is asked for", zap.Error(err))
	}
}
