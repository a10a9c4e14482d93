package subscriber

import (
	"slices"
	"time"
)

const (
	// maxWait is how long a delivery may wait in the fast lane for a slot of its
	// endpoint. Longer, and the endpoint gets a lane of its own.
	maxWait = 250 * time.Millisecond
	// longestWait is the same for when a lane would help nobody: because all
	// endpoints wait as long, because it is the machine that is slow, or because
	// there are no others.
	longestWait = 2 * time.Second
	// slowMachineWait is the same for an endpoint that gets on while the machine
	// is slow.
	slowMachineWait = 10 * time.Second
	// starvedFor is how long the machine counts as slow after it was, and an
	// endpoint as getting on after a success.
	starvedFor = 500 * time.Millisecond
	// slowAttempt is how long an attempt takes that is slow of itself, if most
	// endpoints are faster: not because the machine has too much to do.
	slowAttempt = 100 * time.Millisecond
	// timesOthers is how many times longer than the others is much longer.
	timesOthers = 3
)

// standing is how an endpoint stands in the fast lane.
type standing struct {
	endpoint *member
	waiting  int           // its deliveries that wait for a slot
	wait     time.Duration // of the one that waits the longest
	latency  float64       // of its attempts, in seconds
	success  time.Time     // the latest
}

// patience says how long deliveries may wait at present.
type patience struct {
	now      time.Time
	starved  bool    // the process lately waited for the machine
	meanWait float64 // of the deliveries whose attempts begin, in seconds
	latency  float64 // that half of the endpoints have, or less
	alone    bool    // there is one endpoint only
}

// newPatience looks at all endpoints together.
func (f *fastLane) newPatience(now time.Time, all []standing) patience {
	p := patience{now: now, starved: now.Sub(f.starved) < starvedFor, meanWait: f.meanWait, alone: len(all) == 1}
	latencies := make([]float64, len(all))
	for i, s := range all {
		latencies[i] = s.latency
	}
	if len(latencies) > 0 {
		slices.Sort(latencies)
		p.latency = latencies[(len(latencies)-1)/2]
	}
	return p
}

// exhausted reports whether an endpoint's deliveries have waited for too long.
func (p *patience) exhausted(s *standing) bool {
	limit := longestWait
	switch {
	case p.starved && p.now.Sub(s.success) < starvedFor:
		limit = slowMachineWait
	case p.starved, p.alone:
	case s.wait.Seconds() > timesOthers*p.meanWait, s.latency > max(slowAttempt.Seconds(), timesOthers*p.latency):
		limit = maxWait // it is the endpoint
	}
	return s.wait > limit
}
