package subscriber

import (
	"fanjet/subscriber/endpoint"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Lifted is what an operator ended at an endpoint that waited for reasons of its
// own.
type Lifted struct {
	State  endpoint.State `json:"state"` // that it was in
	Reason string         `json:"reason"`
	Until  time.Time      `json:"until,omitzero"` // when it would have gone on by itself, or been tried
}

// Lift ends what an endpoint waits for without being paused, by an operator's
// word: the time that it asked for with Retry-After, and a circuit that is not
// closed. At one that refuses what it gets, the next attempt is made at once, but
// still one at a time. It returns nil when there was nothing to lift, and
// [ErrUnknownEndpoint].
func (d *Dispatcher) Lift(endpoint string) (*Lifted, error) {
	e := d.endpoint(endpoint)
	if e == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownEndpoint, endpoint)
	}
	lifted := e.lift(time.Now())
	if lifted == nil {
		return nil, nil
	}
	d.log.Info("an operator ended what an endpoint waits for", zap.String("endpoint", endpoint),
		zap.String("state", string(lifted.State)), zap.String("reason", lifted.Reason))
	d.pump(e)
	d.lanes.look()
	return lifted, nil
}

// lift is [Dispatcher.Lift].
func (e *member) lift(now time.Time) *Lifted {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, reason, until := e.gate.Lift(now)
	if was == endpoint.StateHealthy {
		return nil
	}
	e.hurryLine(now)
	return &Lifted{State: was, Reason: reason, Until: until}
}

// hurryLine lets the head of an ordered endpoint's line be tried at once. The
// caller holds mu.
func (e *member) hurryLine(now time.Time) {
	e.resumed, e.lineNext = now, time.Time{}
	for _, d := range e.queue {
		d.notBefore = time.Time{}
	}
}
