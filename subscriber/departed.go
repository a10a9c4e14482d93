package subscriber

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fanjet/dlq"
)

const (
	// unknownEndpoint is the label of what is counted for an endpoint that is not
	// in the configuration: one that was removed, or that somebody made up who
	// writes to our subjects. No endpoint can have that name.
	unknownEndpoint = "(unknown)"
	// forgetEvery is how often it is looked whether the series of removed endpoints
	// may go.
	forgetEvery = time.Second
)

// departed are the endpoints that were removed while the process runs, as long as
// something of them may still be counted. The series of an endpoint go with the
// last of them: else every name that there ever was would stay for the life of the
// process.
type departed struct {
	// mu is held for writing while the endpoints of the configuration are
	// exchanged and while series are removed: what an endpoint counts that came
	// back in between would be lost, as counters that were looked up count on
	// without being in the registry.
	mu     sync.RWMutex
	byName map[string][]*member
}

// forgetDeparted removes the series of endpoints that are gone, until ctx ends.
func (d *Dispatcher) forgetDeparted(ctx context.Context) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.ForgetQuiet()
		}
	}
}

// ForgetQuiet removes the series of removed endpoints of which nothing is in
// flight or waits here. [Dispatcher.Run] does it every second.
func (d *Dispatcher) ForgetQuiet() {
	d.departed.mu.Lock()
	defer d.departed.mu.Unlock()
	for name, gone := range d.departed.byName {
		if gone = slices.DeleteFunc(gone, (*member).ended); len(gone) > 0 {
			d.departed.byName[name] = gone
			continue
		}
		delete(d.departed.byName, name)
		if d.endpoint(name) == nil { // it did not come back
			d.metrics.forget(name)
			d.letterLines.forget(name)
		}
	}
}

// ended reports whether a removed endpoint counts nothing any more.
func (e *member) ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped && e.inFlight == 0 && len(e.queue) == 0 && e.moving == 0 && e.metrics.settling.Load() == 0
}

// forget removes every series of an endpoint.
func (m *metrics) forget(endpoint string) {
	of := prometheus.Labels{"endpoint": endpoint}
	for _, vec := range [...]*prometheus.CounterVec{m.attempts, m.resends, m.retries, m.dead, m.circuitOpened} {
		vec.DeletePartialMatch(of)
	}
}

// countLetter counts a dead letter. It returns the labels under which it did: the
// names of endpoints and reasons can be of somebody else's making.
func (d *Dispatcher) countLetter(endpoint string, reason dlq.Reason) (string, dlq.Reason) {
	d.departed.mu.RLock()
	defer d.departed.mu.RUnlock()
	if d.endpoint(endpoint) == nil && d.departed.byName[endpoint] == nil {
		endpoint = unknownEndpoint
	}
	if !slices.Contains(dlq.Reasons(), reason) {
		reason = dlq.ReasonUnpublishable
	}
	d.metrics.dead.WithLabelValues(endpoint, string(reason)).Inc()
	return endpoint, reason
}
