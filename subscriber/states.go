package subscriber

import (
	"time"

	"fanjet/subscriber/endpoint"
)

// countStates sets the gauge of the endpoints' states.
func (d *Dispatcher) countStates() {
	counts := map[endpoint.State]int{endpoint.StateHealthy: 0, endpoint.StateSlow: 0, endpoint.StateLimited: 0, endpoint.StateBackingOff: 0, endpoint.StateHalfOpen: 0, endpoint.StateRefusing: 0, endpoint.StateOpen: 0, endpoint.StatePaused: 0}
	now := time.Now()
	for _, e := range *d.endpoints.Load() {
		counts[e.status(now).State]++
	}
	for state, n := range counts {
		d.metrics.states.WithLabelValues(string(state)).Set(float64(n))
	}
}
