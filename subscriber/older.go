package subscriber

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/jsapi"
	"fanjet/internal/wire"
)

// drainWait is how long older deliveries are sent away that would hold up others.
const drainWait = time.Second

// drain looks whether older deliveries of endpoints that were made ordered are
// settled. Only then their lanes begin.
func (d *Dispatcher) drain(ctx context.Context) {
	sources := sync.OnceValues(func() (map[string]Progress, error) { // for all of them
		if d.opts.Sources == nil {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return d.opts.Sources(ctx)
	})
	for name, e := range *d.endpoints.Load() {
		if !e.isDraining() || ctx.Err() != nil {
			continue
		}
		left, err := d.olderThanLine(ctx, name, e, sources)
		if err != nil {
			d.sampled.Warn("cannot look for older deliveries of an ordered endpoint", zap.String("endpoint", name), zap.Error(err))
			return
		}
		e.drained(!left)
	}
}

// drainLater sends older deliveries away that would hold up other endpoints.
// They come again in a moment, and the line still waits for them.
func (d *Dispatcher) drainLater(deliveries []*delivery) {
	for _, dl := range deliveries {
		dl.ep.moved()
		if x := dl.msg.direct(); x != nil {
			d.schedule(d.work, dl, x.Owner.Envelope(), d.opts.ServerTime().Add(drainWait), 0, nil)
			continue
		}
		env, err := wire.ReadEnvelope(dl.msg.Msg.Header)
		if err != nil {
			d.foreign(d.work, dl, err)
			continue
		}
		d.schedule(d.work, dl, env, d.opts.ServerTime().Add(drainWait), env.Attempt-1, nil)
	}
}

func (e *member) isDraining() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.draining
}

// drained takes over whether nothing older was found. The answer "nothing is
// left" counts when it is given twice in a row: a delivery may have been on its
// way into the log.
func (e *member) drained(nothing bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.draining = e.draining && !(nothing && e.drainedOnce)
	e.drainedOnce = nothing
}

// olderThanLine reports whether something of the endpoint is left that comes before its
// line: an event that a matcher, here or elsewhere, holds since before the endpoint
// was made ordered, or a delivery. The events come first: what they leave behind is
// stored before they are settled, and then found.
func (d *Dispatcher) olderThanLine(ctx context.Context, endpoint string, e *member, sources func() (map[string]Progress, error)) (bool, error) {
	at, err := sources()
	if err != nil {
		return true, err
	}
	if !e.passed(at) {
		return true, nil
	}
	return d.olderThanLane(ctx, endpoint)
}

// passed reports whether all events are settled that the sources had when the endpoint
// was made ordered. The first question after that notes which those are.
func (e *member) passed(at map[string]Progress) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.atSwitch == nil {
		e.atSwitch = make(map[string]uint64, len(at))
		for stream, p := range at {
			e.atSwitch[stream] = p.Last
		}
	}
	for stream, last := range e.atSwitch {
		if at[stream].Settled < last {
			return false
		}
	}
	return true
}

// olderThanLane reports whether deliveries of the endpoint are left that do not
// come from its lane.
func (d *Dispatcher) olderThanLane(ctx context.Context, endpoint string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	names := d.opts.Names
	for _, q := range []struct{ stream, subject string }{
		{names.DeliveriesStream(), names.DeliverSubject(endpoint)},
		{names.RetriesStream(), names.RetrySubject(endpoint, "*")},
		{names.RetriesStream(), names.DueSubject(endpoint)},
	} {
		// There may be very many: the first will do.
		_, err := jsapi.Of(d.opts.JetStream).Next(ctx, q.stream, q.subject, 1)
		if !errors.Is(err, jsapi.ErrNoMessage) {
			return true, err
		}
	}
	return false, nil
}
