package source

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// fanoutDelivery is one delivery of an event: to one endpoint. It implements
// [publish.Completion], and [subscriber.Owner] while it is made directly.
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

// Hurries reports whether the delivery that completes with done is to be stored at once:
// the event has others, which may be delivered already, and a crash repeats them until all
// is stored.
func Hurries(done publish.Completion) bool {
	d, ok := done.(*fanoutDelivery)
	return !ok || len(d.fanout.deliveries) > 1
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
