package subscriber

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"fanjet/dlq"
	"fanjet/internal/failpoint"
	"fanjet/internal/publish"
	"fanjet/internal/wire"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// schedule publishes the schedule of the delivery's next attempt; once that is
// stored it acknowledges the message and counts a retry, if count is set. attempts
// is the number made so far.
func (d *Dispatcher) schedule(ctx context.Context, dl *delivery, env wire.Envelope, at time.Time, attempts int, count *endpointMetrics) {
	d.settling.Add(1)
	if count != nil {
		count.settling.Add(1)
	}
	s := &scheduled{d: d, ctx: ctx, msg: dl.msg, env: env, at: at, attempts: attempts, count: count}
	if err := d.opts.Retries.Enqueue(ctx, d.scheduleOf(dl.msg, env, at, nil), s); err != nil {
		s.Published(err)
	}
}

// scheduled is a delivery whose schedule is being published. It implements
// [publish.Completion].
type scheduled struct {
	d        *Dispatcher
	ctx      context.Context
	msg      message
	env      wire.Envelope
	at       time.Time
	attempts int
	count    *endpointMetrics
}

func (s *scheduled) Published(err error) {
	if err == nil {
		s.stored()
		s.done()
		return
	}
	go func() {
		defer s.done()
		s.failed(err)
	}()
}

func (s *scheduled) done() {
	if s.count != nil {
		s.count.settling.Add(-1)
	}
	s.d.settling.Done()
}

func (s *scheduled) stored() {
	failpoint.Hit(failpoint.RetryStored)
	s.msg.AckStored()
	if s.count != nil {
		s.count.retry().Inc()
	}
}

func (s *scheduled) failed(err error) {
	if publish.IsTooLarge(err) && s.env.LastError != "" {
		// The words of the receiver must not cost an event its retries.
		s.env.LastError = ""
		if err = s.d.opts.Retries.Publish(s.ctx, s.d.scheduleOf(s.msg, s.env, s.at, nil)); err == nil {
			s.stored()
			return
		}
	}
	if publish.IsConflict(err) {
		// The event came to others, too, and its delivery has another life already.
		s.msg.AckStored()
		return
	}
	if !publish.IsRefused(err) {
		s.d.giveBack(s.msg, s.env, err)
		return
	}
	s.env.LastError = fmt.Sprintf("NATS refused the schedule of the next attempt: %v", err)
	reason := dlq.ReasonUnpublishable
	if publish.IsTooLarge(err) {
		reason = dlq.ReasonTooLarge
	}
	s.env.Attempt = max(s.attempts, 1)
	s.d.deadLetter(s.ctx, s.msg, s.env, reason, s.attempts)
}

// scheduleOf makes the message that comes again at a time, with more headers if
// there are any.
func (d *Dispatcher) scheduleOf(m message, env wire.Envelope, at time.Time, more nats.Header) *nats.Msg {
	h := wire.EventHeaders(m.Msg.Header)
	env.WriteTo(h)
	maps.Copy(h, more)
	// The same schedule published twice replaces itself, and once it has fired
	// it is known by the message that it was made from.
	h[nats.MsgIdHdr] = []string{m.hopID()}
	if m.direct() != nil {
		// It can become more than one: a lease, and what takes its place. And nothing was
		// stored of it before, unless it has another life already.
		h[nats.MsgIdHdr][0] += "/" + strconv.Itoa(env.Attempt)
		h[jetstream.ExpectedLastSubjSeqHeader] = []string{"0"}
	}
	// nats.go's own option truncates to whole seconds.
	h[jetstream.ScheduleHeader] = []string{"@at " + at.UTC().Format(time.RFC3339Nano)}
	h[wire.HeaderScheduleTarget] = []string{d.opts.Names.DueSubject(env.Endpoint)}
	return &nats.Msg{
		Subject: d.opts.Names.RetrySubject(env.Endpoint, env.Key),
		Header:  h,
		Data:    m.Msg.Data,
	}
}
