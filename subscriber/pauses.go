package subscriber

import (
	"context"
	"time"

	"go.uber.org/zap"

	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// onPause hears that an endpoint is paused, or resumed.
func (d *Dispatcher) onPause(endpoint string, p *endpoint.Pause) {
	d.applying.Lock()
	defer d.applying.Unlock()
	if p != nil {
		d.paused[endpoint] = *p
	} else {
		delete(d.paused, endpoint)
	}
	e := d.endpoint(endpoint)
	if e == nil {
		return
	}
	d.divert(e.pause(p, time.Now()))
	if p != nil {
		d.log.Warn("endpoint is paused: its deliveries are held", zap.String("endpoint", endpoint), zap.String("by", p.By), zap.String("reason", p.Reason))
	} else {
		d.log.Info("endpoint is resumed", zap.String("endpoint", endpoint))
	}
	d.pump(e)
	d.lanes.Look()
}

// loadPauses reads the pauses before anything is delivered. It reports false
// when ctx ended first.
func (d *Dispatcher) loadPauses(ctx context.Context) bool {
	const pause = time.Second
	for {
		err := d.pauses.Load(ctx)
		if err == nil {
			d.state("pauses", nil)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		d.state("pauses", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// storePause stores a pause that is in force here already, until that succeeds
// or ctx ends.
func (d *Dispatcher) storePause(ctx context.Context, endpoint string, p endpoint.Pause) {
	for {
		timed, cancel := context.WithTimeout(ctx, 5*time.Second)
		was, err := state.SetPause(timed, d.opts.State, endpoint, p)
		cancel()
		if err == nil && was == nil && d.opts.OnPause != nil {
			d.settling.Go(func() { d.opts.OnPause(ctx, endpoint, p) })
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		d.sampled.Error("the pause of an endpoint cannot be stored; trying again", zap.String("endpoint", endpoint), zap.Error(err))
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return
		}
	}
}
