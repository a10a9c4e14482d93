package source

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fanjet/gateway/match"
	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// handle matches one event and enqueues its deliveries.
func (m *Matcher) handle(ctx context.Context, msg *intake.Message) {
	reason, origin, known := m.classify(ctx, msg)
	switch {
	case !known:
		msg.Nak()
		return
	case reason != "":
		m.counts.ignored[reason].Inc()
		m.ack(msg)
		return
	}
	m.counts.received.Inc()
	failpoint.Hit(failpoint.EventFetched)
	created := *m.created.Load()
	if m.cursor.at.Load().covers(created, msg.Sequence, msg.Stored) {
		m.counts.skipped.Inc()
		m.ack(msg)
		return
	}

	if m.mark.isFree(time.Now()) {
		m.mark.begun.Go(func() { m.claim(ctx, msg) })
	}
	m.mark.reach(ctx, msg.Sequence)
	header, data, subject := msg.Msg.Header, msg.Msg.Data, msg.Msg.Subject
	pos := wire.Position{Stream: m.stream, Created: created, Sequence: msg.Sequence, Stored: msg.Stored}
	identity := wire.EventID
	if origin {
		identity = wire.SourcedEventID
	}
	id := identity(header, data, pos, m.opts.Source.ByPosition)
	event := match.Event{ID: id, Subject: subject, Header: header, Data: data, Time: msg.Stored}
	filters := filterErrors{matcher: m, pos: pos}
	m.endpoints = m.opts.Match.Load().Match(&event, m.endpoints[:0], filters.add)
	filters.end()
	own := false
	if m.opts.Own != nil {
		var endpoint string
		if endpoint, own = m.opts.Own(subject); own {
			m.endpoints = append(m.endpoints[:0], endpoint) // whatever subscriptions there are
		}
	}
	endpoints := m.endpoints
	if len(endpoints) == 0 {
		m.counts.unmatched.Inc()
		m.ack(msg)
		return
	}
	m.opts.Metrics.matches.Add(float64(len(endpoints)))

	failpoint.Hit(failpoint.EventMatched)
	f := &fanout{matcher: m, ctx: ctx, msg: msg, pos: pos, id: id, again: msg.Deliveries > 1 || m.mark.again(msg.Sequence)}
	f.pending.Store(int32(len(endpoints)))
	f.deliveries = f.one[:]
	if len(endpoints) > 1 {
		f.deliveries = make([]fanoutDelivery, len(endpoints))
	}
	for i, endpoint := range endpoints {
		f.deliveries[i].fanout, f.deliveries[i].endpoint = f, endpoint
	}
	switch why := m.whyStored(f, own); {
	case why == subscriber.Taken:
		m.offer(f)
	case why == subscriber.WhyAgain:
		m.fanOutAgain(f)
	case msg.Lapsed():
		m.park(f)
	default:
		for i := range f.deliveries {
			f.deliveries[i].store(why)
		}
	}
}

// store publishes a delivery.
func (d *fanoutDelivery) store(why subscriber.Why) {
	f := d.fanout
	d.why = why
	f.matcher.opts.Metrics.stored[why].Inc()
	h := wire.EventHeaders(f.msg.Msg.Header)
	envelope := d.envelope()
	envelope.WriteTo(h)
	h[nats.MsgIdHdr] = []string{f.pos.FanoutID(d.endpoint)}
	d.msg = &nats.Msg{Header: h, Data: f.msg.Msg.Data}
	f.matcher.send(d)
	failpoint.Hit(failpoint.Enqueued)
}

// ack acknowledges an event; the cursor has to follow.
func (m *Matcher) ack(msg *intake.Message) {
	msg.Ack()
	m.acked.Store(msg.Sequence)
	m.newly.Add(1)
	m.times.add(*m.created.Load(), msg.Sequence, msg.Stored)
}

// send publishes a delivery: to its endpoint's lane, if that has one, else to
// the shared log.
func (m *Matcher) send(d *fanoutDelivery) {
	laned, ordered := m.opts.Lanes.Route(d.endpoint)
	to := m.opts.Deliveries
	switch {
	case ordered && d.earlier: // it comes before the line, which waits for it
		laned = false
	case ordered:
		to = m.opts.Lanes.InOrder
	case laned && !d.refused:
		to = m.opts.Lanes.Publisher
	default:
		laned = false
	}
	d.laned, d.msg.Subject = laned, m.names.DeliverSubject(d.endpoint)
	if laned {
		d.msg.Subject = m.names.LaneSubject(d.endpoint)
	}
	if err := to.Enqueue(d.fanout.ctx, d.msg, d); err != nil {
		d.Published(err)
	}
}

// Routes is what the matchers have to know about lanes.
type Routes struct {
	// Route reports whether an endpoint's deliveries belong into its lane, and
	// whether they must stay in order there.
	Route func(endpoint string) (laned, ordered bool)
	// Holds hears of every delivery that was stored in a lane.
	Holds     func(endpoint string)
	Publisher Publisher // fails when the stream is full
	InOrder   Publisher // waits when it is full
}

// fanout is an event whose deliveries are being published, or made directly.
type fanout struct {
	matcher *Matcher
	ctx     context.Context // ends when the matcher gives up
	msg     *intake.Message
	pos     wire.Position
	id      string // of the event
	again   bool   // it may have been handled before

	deliveries []fanoutDelivery
	one        [1]fanoutDelivery // most events have but one
	pending    atomic.Int32      // deliveries without an answer
	failed     atomic.Bool

	// Of an event that is delivered directly.
	room       int           // that its deliveries were given; 0: none is made directly
	envelope   wire.Envelope // what they have in common
	storedAt   atomic.Int64  // when the first of them was stored, in Unix nanoseconds; 0: none is
	lapsed     time.Time     // since when it counts as somebody else's; only for who stores what was given back
	prev, next *fanout       // in held
}

// done counts an answer; the last one settles the event. What its offer set is not known
// before that.
func (f *fanout) done(ok bool) {
	if !ok {
		f.failed.Store(true)
	}
	if f.pending.Add(-1) > 0 {
		failpoint.Hit(failpoint.FanoutPartly)
		return
	}
	if f.room > 0 {
		f.matcher.held.remove(f)
		f.matcher.opts.Direct.Free(f.room)
	}
	// Promise 1: an event is settled only when every delivery of it was accepted, or is stored.
	if f.failed.Load() {
		f.msg.Nak() // fanned out again, with the same ids
		return
	}
	failpoint.Hit(failpoint.FanoutStored)
	f.matcher.ack(f.msg)
}

// Whether a delivery is made directly.
const (
	notOut = iota // it is not, or that is not known yet
	isOut         // it was taken, and is not settled
	isBack        // it was settled, or given back
)
