package subscriber

import (
	"fmt"
	"time"

	"fanjet/subscriber/endpoint"

	"go.uber.org/zap"
)

// Lift ends what an endpoint waits for without being paused, by an operator's
// word: the time that it asked for with Retry-After, and a circuit that is not
// closed. At one that refuses what it gets, the next attempt is made at once, but
// still one at a time. It returns nil when there was nothing to lift, and
// [ErrUnknownEndpoint].
func (d *Dispatcher) Lift(endpoint string) (*endpoint.Lifted, error) {
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
	d.lanes.Look()
	return lifted, nil
}

// lift is [Dispatcher.Lift].
func (e *member) lift(now time.Time) *endpoint.Lifted {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, reason, until := e.gate.Lift(now)
	if was == endpoint.StateHealthy {
		return nil
	}
	e.hurryLine(now)
	return &endpoint.Lifted{State: was, Reason: reason, Until: until}
}
