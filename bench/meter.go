package main

import "time"

// lull is how long nothing may arrive before a meter takes it for a pause.
const lull = 100 * time.Millisecond

// meter tells the rate of arrivals while there are any: starts, takeovers and
// the wait for what a dead process held do not count.
type meter struct {
	moved   time.Time // when there was news
	arrived int       // as of then
	count   int
	busy    time.Duration
}

// note takes a look at how many events have arrived by now.
func (m *meter) note(now time.Time, arrived int) {
	if m.moved.IsZero() {
		m.moved, m.arrived = now, arrived
	}
	if arrived == m.arrived {
		return
	}
	if d := now.Sub(m.moved); d <= lull {
		m.busy += d
		m.count += arrived - m.arrived
	}
	m.moved, m.arrived = now, arrived
}

// perSecond is 0 if nothing was metered.
func (m *meter) perSecond() float64 {
	if m.busy <= 0 {
		return 0
	}
	return float64(m.count) / m.busy.Seconds()
}
