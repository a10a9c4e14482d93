package endpoint

import "time"

// State is how an endpoint does.
type State string

// The states, from best to worst.
const (
	StateHealthy    State = "healthy"     // deliveries go out as they come
	StateSlow       State = "slow"        // it answers slower than its deliveries come: they wait in its own lane
	StateLimited    State = "limited"     // its rate_limit is used up
	StateBackingOff State = "backing_off" // it asked for a pause with Retry-After
	StateHalfOpen   State = "half_open"   // a probe got through; more and more deliveries follow
	StateRefusing   State = "refusing"    // it gave one event after the other a final answer: one delivery at a time, until it accepts one
	StateOpen       State = "open"        // it failed too often in a row: only probes go out
	StatePaused     State = "paused"      // by an operator, or by Fanjet itself: nothing goes out
)

// Waits reports whether an endpoint in this state gets no deliveries, or one now
// and then.
func (s State) Waits() bool {
	switch s {
	case StatePaused, StateOpen, StateRefusing, StateBackingOff:
		return true
	}
	return false
}

// Status is what one replica knows about an endpoint. It is JSON that the
// command line shows.
type Status struct {
	Endpoint string    `json:"endpoint"`
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"` // why it is not healthy
	Since    time.Time `json:"since,omitzero"`   // when the state began
	Next     time.Time `json:"next,omitzero"`    // the next probe, or the end of a wait
	Ordered  bool      `json:"ordered,omitempty"`

	InFlight int `json:"in_flight"` // attempts that are being made
	Held     int `json:"held"`      // deliveries in memory that wait for an attempt

	Delivered uint64  `json:"delivered"`            // attempts with a 2xx since the start of the replica
	Failed    uint64  `json:"failed"`               // attempts that failed since then
	LatencyMS float64 `json:"latency_ms"`           // moving average of an attempt's time
	LastError string  `json:"last_error,omitempty"` // of the latest failed attempt
}

// Pause says that an endpoint's deliveries are held. It is stored as JSON in
// the state bucket, so that it outlives restarts and reaches every replica.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by"`               // who: a user name, or "fanjet"
	Reason string    `json:"reason,omitempty"` // why
	// Blocked is the key of the delivery at which the line of an ordered endpoint
	// stands; empty: none does.
	Blocked string `json:"blocked,omitempty"`
}

// PausedByFanjet is who pauses an endpoint when no operator does.
const PausedByFanjet = "fanjet"

// Gone reports whether we paused the endpoint because it was gone: for what else
// we pause one, we name a delivery.
func (p *Pause) Gone() bool { return p != nil && p.By == PausedByFanjet && p.Blocked == "" }

// Text says by whom the endpoint was paused, and why.
func (p *Pause) Text() string {
	if p.Reason == "" {
		return "paused by " + p.By
	}
	return "paused by " + p.By + ": " + p.Reason
}

// Equal reports whether two pauses say the same.
func (p Pause) Equal(q Pause) bool {
	return p.Since.Equal(q.Since) && p.By == q.By && p.Reason == q.Reason && p.Blocked == q.Blocked
}

// Lifted is what an operator ended at an endpoint that waited for reasons of its
// own.
type Lifted struct {
	State  State     `json:"state"` // that it was in
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"` // when it would have gone on by itself, or been tried
}
