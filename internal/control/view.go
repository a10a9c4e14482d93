package control

import (
	"cmp"
	"slices"
	"time"

	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// States that no gateway reports.
const (
	StateUnknown endpoint.State = "unknown" // no gateway says how it does
	StateRemoved endpoint.State = "removed" // it is in no configuration, but NATS holds something for it
)

// StatesByTrouble lists all states, from the worst.
func StatesByTrouble() []endpoint.State {
	return []endpoint.State{
		endpoint.StatePaused, endpoint.StateOpen, endpoint.StateRefusing, endpoint.StateHalfOpen, endpoint.StateBackingOff,
		endpoint.StateLimited, endpoint.StateSlow, endpoint.StateHealthy, StateUnknown, StateRemoved,
	}
}

// EndpointView is an endpoint as all gateways together see it, and NATS. It is
// the JSON that list and show print.
type EndpointView struct {
	Endpoint string          `json:"endpoint"`
	State    endpoint.State  `json:"state"` // of several gateways the worst
	Reason   string          `json:"reason,omitempty"`
	Since    time.Time       `json:"since,omitzero"`
	Next     time.Time       `json:"next,omitzero"`
	Ordered  bool            `json:"ordered,omitempty"`
	Pause    *endpoint.Pause `json:"pause,omitempty"`

	InFlight    int       `json:"in_flight"`
	Held        int       `json:"held"`    // in the memory of gateways, waiting for an attempt
	Waiting     uint64    `json:"waiting"` // in its own lane; some of them can be held too
	Oldest      time.Time `json:"oldest,omitzero"`
	Retries     uint64    `json:"retries"`
	DeadLetters uint64    `json:"dead_letters"`

	Delivered uint64  `json:"delivered"` // since the starts of the gateways
	Failed    uint64  `json:"failed"`
	LatencyMS float64 `json:"latency_ms"`
	LastError string  `json:"last_error,omitempty"`

	// Removed is since when deliveries wait for it that is in no configuration, and
	// until when.
	Removed *state.Removed `json:"removed,omitempty"`
	// Gateways is who answered of those that live: what the others know is missing.
	Gateways Gateways `json:"gateways"`

	Settings   *EndpointSettings `json:"settings,omitempty"`    // only in show
	LastResume *state.Resume     `json:"last_resume,omitempty"` // only in show
	Replicas   []ReplicaView     `json:"replicas,omitempty"`    // only in show
}

// ReplicaView is an endpoint as one gateway sees it.
type ReplicaView struct {
	Replica
	Status endpoint.Status `json:"status"`
}

// Waits is how many deliveries wait for an attempt.
func (v *EndpointView) Waits() uint64 { return max(v.Waiting, uint64(v.Held)) }

// mergeReplicas makes one view of what the gateways say: the worst state, the
// sums of what is counted, and the mean latency of all attempts.
func mergeReplicas(name string, replicas []ReplicaView) EndpointView {
	v := EndpointView{Endpoint: name}
	order := StatesByTrouble()
	var attempts, latency float64
	for _, r := range replicas {
		s := r.Status
		worse := slices.Index(order, s.State) < slices.Index(order, v.State)
		longer := s.State == v.State && s.State == endpoint.StateBackingOff && s.Next.After(v.Next)
		if v.State == "" || worse || longer {
			v.State, v.Reason, v.Since, v.Next = s.State, s.Reason, s.Since, s.Next
		}
		if v.LastError == "" || worse {
			v.LastError = cmp.Or(s.LastError, v.LastError)
		}
		v.Ordered = v.Ordered || s.Ordered
		v.InFlight += s.InFlight
		v.Held += s.Held
		v.Delivered += s.Delivered
		v.Failed += s.Failed
		made := float64(s.Delivered + s.Failed)
		attempts += made
		latency += made * s.LatencyMS
	}
	if attempts > 0 {
		v.LatencyMS = latency / attempts
	}
	return v
}

// DescribePause says who paused an endpoint, and why.
func DescribePause(p endpoint.Pause) string {
	text := "by " + cmp.Or(p.By, "somebody")
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}
