package source

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
	"fanjet/subscriber"
)

// fanOutAgain stores the deliveries of an event that may have been handled before, but
// for those that have a schedule, which was made by a direct attempt that failed, or that
// hung. Of the others the ids of their messages tell which are stored. What was delivered,
// and not stored, is delivered again.
func (m *Matcher) fanOutAgain(f *fanout) {
	there, err := f.scheduled()
	for i := range f.deliveries {
		switch {
		case err != nil:
			f.done(false) // the matcher gave up
		case there != nil && there[i]:
			f.done(true)
		default:
			f.deliveries[i].store(subscriber.WhyAgain)
		}
	}
}

// scheduled returns which deliveries of the event have a schedule; nil: none. It waits
// until NATS has said so of all of them, so that events stay in order.
func (f *fanout) scheduled() ([]bool, error) {
	if len(f.deliveries) > maxDirect {
		return nil, nil // none was made directly
	}
	there := make([]bool, len(f.deliveries))
	if known := f.matcher.lives.Load(); known != nil && f.msg.Deliveries == 1 {
		for i := range f.deliveries {
			there[i] = f.deliveries[i].livesIn(*known)
		}
		return there, nil
	}
	var all errgroup.Group
	for i := range f.deliveries {
		all.Go(func() (err error) {
			there[i], err = f.deliveries[i].scheduled(f.ctx)
			return err
		})
	}
	return there, all.Wait()
}

// livesIn reports whether the delivery is among those that had a life when this matcher
// took over, or came due since.
func (d *fanoutDelivery) livesIn(known lives) bool {
	key := wire.Key(wire.KindEvent, d.fanout.pos, d.endpoint)
	_, has := known[key]
	direct := d.fanout.matcher.opts.Direct
	return has || direct != nil && direct.CameDue(key)
}

// scheduled reports whether the delivery has a schedule, a lease, or one of them came due
// a moment ago. The error is that of ctx.
func (d *fanoutDelivery) scheduled(ctx context.Context) (bool, error) {
	f := d.fanout
	m := f.matcher
	key := wire.Key(wire.KindEvent, f.pos, d.endpoint)
	for {
		ask, answered := jsapi.WhileConnected(ctx, m.opts.Conn)
		_, err := jsapi.Of(m.opts.JetStream).Next(ask, m.names.RetriesStream(), m.names.RetrySubject(d.endpoint, key), 1)
		answered()
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, jsapi.ErrNoMessage):
			if m.opts.Direct != nil && m.opts.Direct.CameDue(key) {
				return true, nil
			}
			due := false
			if _, err = m.eachDue(ctx, d.endpoint, func(other string) bool { due = other == key; return !due }); err == nil {
				return due, nil
			}
		}
		m.sampled.Warn("it is not known whether a delivery has a schedule; it waits", zap.Error(err))
		select {
		case <-time.After(markRetry):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// park holds the deliveries of an event that somebody else may have by now, and may have
// delivered: they are stored if it comes here again. But those to ordered endpoints are
// stored at once, or they would come behind newer ones; an id makes one of two.
func (m *Matcher) park(f *fanout) {
	for i := range f.deliveries {
		d := &f.deliveries[i]
		if _, ordered := m.opts.Lanes.Route(d.endpoint); ordered {
			d.store(subscriber.WhyStale)
		} else {
			d.WriteDown(subscriber.WhyStale)
		}
	}
}
