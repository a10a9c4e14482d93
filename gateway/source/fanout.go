package source

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/gateway/match"
	"fanjet/internal/failpoint"
	"fanjet/internal/intake"
	"fanjet/internal/publish"
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

// fanoutDelivery is one of them. It implements [publish.Completion].
type fanoutDelivery struct {
	fanout   *fanout
	endpoint string
	direct   subscriber.Direct
	out      atomic.Int32   // whether it is made directly: notOut, isOut or isBack
	why      subscriber.Why // why it is stored
	earlier  bool           // it was given back: newer events may have been stored before
	msg      *nats.Msg      // while it is stored
	stored   bool           // it was, or is being, without an offer
	laned    bool           // it was sent to the endpoint's lane
	refused  bool           // the lane has no room
}

func (d *fanoutDelivery) envelope() wire.Envelope {
	f := d.fanout
	return wire.Envelope{
		EventID: f.id, Key: wire.Key(wire.KindEvent, f.pos, d.endpoint), Endpoint: d.endpoint,
		Subject: f.msg.Msg.Subject, Source: f.pos.Source(), Accepted: f.msg.Stored, Attempt: 1,
	}
}

func (d *fanoutDelivery) Published(err error) {
	m := d.fanout.matcher
	if d.laned {
		switch {
		case err == nil:
			m.opts.Lanes.Holds(d.endpoint)
		case errors.Is(err, publish.ErrFull):
			// The shared log is the other way.
			d.refused = true
			m.letting.Go(func() { m.send(d) })
			return
		}
	}
	if errors.Is(err, publish.ErrStale) {
		d.WriteDown(d.why)
		return
	}
	if !publish.IsRefused(err) {
		d.answered(err == nil)
		return
	}
	m.letting.Go(func() { d.answered(d.deadLetter(err)) })
}

// answered counts the answer of NATS to a delivery, or its letter.
func (d *fanoutDelivery) answered(stored bool) {
	if stored {
		if d.direct.Owner != nil {
			failpoint.Hit(failpoint.WrittenDown)
		}
		d.fanout.noteStored()
	}
	d.fanout.done(stored)
}

// deadLetter writes the letter of a delivery that NATS refused, and holds the
// event until that succeeds or the matcher gives up.
func (d *fanoutDelivery) deadLetter(refusal error) bool {
	m, msg := d.fanout.matcher, d.fanout.msg
	reason := dlq.ReasonUnpublishable
	if publish.IsTooLarge(refusal) {
		reason = dlq.ReasonTooLarge
	}
	envelope := d.envelope()
	envelope.LastError = "NATS refused the delivery: " + refusal.Error()
	m.sampled.Error("a delivery cannot be published and is dead-lettered", zap.String("endpoint", d.endpoint),
		zap.String("source_event", d.fanout.pos.Source()), zap.String("reason", string(reason)), zap.Error(refusal))
	for {
		err := m.opts.Letters.Write(d.fanout.ctx, envelope, reason, 0, msg.Msg.Header, msg.Msg.Data, d.fanout.pos.FanoutID(d.endpoint))
		switch {
		case err == nil:
			m.opts.Metrics.unpublished.WithLabelValues(string(reason)).Inc()
			return true
		case !errors.Is(err, publish.ErrFull) && !publish.IsRefused(err):
			return false
		}
		m.sampled.Error("the dead letter is not taken; the event waits", zap.Error(err))
		select {
		case <-time.After(5 * time.Second):
		case <-d.fanout.ctx.Done():
			return false
		}
	}
}
