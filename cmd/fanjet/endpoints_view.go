package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"fanjet/internal/control"
	"fanjet/subscriber"
)

// States that no gateway reports.
const (
	stateUnknown subscriber.State = "unknown" // no gateway says how it does
	stateRemoved subscriber.State = "removed" // it is in no configuration, but NATS holds something for it
)

// statesByTrouble lists all states, from the worst.
func statesByTrouble() []subscriber.State {
	return []subscriber.State{
		subscriber.StatePaused, subscriber.StateOpen, subscriber.StateHalfOpen, subscriber.StateBackingOff,
		subscriber.StateLimited, subscriber.StateSlow, subscriber.StateHealthy, stateUnknown, stateRemoved,
	}
}

// endpointView is an endpoint as all gateways together see it, and NATS. It is
// the JSON that list and show print.
type endpointView struct {
	Endpoint string            `json:"endpoint"`
	State    subscriber.State  `json:"state"` // of several gateways the worst
	Reason   string            `json:"reason,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Next     time.Time         `json:"next,omitzero"`
	Ordered  bool              `json:"ordered,omitempty"`
	Pause    *subscriber.Pause `json:"pause,omitempty"`

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

	Settings   *endpointSettings  `json:"settings,omitempty"`    // only in show
	LastResume *subscriber.Resume `json:"last_resume,omitempty"` // only in show
	Replicas   []replicaView      `json:"replicas,omitempty"`    // only in show
}

// replicaView is an endpoint as one gateway sees it.
type replicaView struct {
	control.Replica
	Status subscriber.Status `json:"status"`
}

// waits is how many deliveries wait for an attempt.
func (v *endpointView) waits() uint64 { return max(v.Waiting, uint64(v.Held)) }

// survey is what was found out about endpoints.
type survey struct {
	reports   []control.Report
	noGateway error // nil, or why nobody says how endpoints do
	pauses    map[string]subscriber.Pause
	backlogs  map[string]control.Backlog
}

// survey asks the gateways and NATS about one endpoint; about all without a name.
func (o *operator) survey(ctx context.Context, endpoint string) (*survey, error) {
	s := &survey{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		var only []string
		if endpoint != "" {
			only = []string{endpoint}
		}
		s.reports, err = control.Statuses(ctx, o.nc, o.names, only...)
		if errors.Is(err, control.ErrNoGateway) {
			s.noGateway, err = err, nil
		}
		return err
	})
	group.Go(func() (err error) {
		s.pauses, err = subscriber.Pauses(ctx, o.state)
		return err
	})
	group.Go(func() (err error) {
		if endpoint == "" {
			s.backlogs, err = control.Backlogs(ctx, o.nc, o.names, slices.Collect(maps.Keys(o.configured)))
			return err
		}
		backlog, err := control.BacklogOf(ctx, o.nc, o.names, endpoint)
		s.backlogs = map[string]control.Backlog{endpoint: backlog}
		return err
	})
	return s, group.Wait()
}

// names returns the endpoints of the configuration and all others that something
// is known of, sorted.
func (s *survey) names(o *operator) []string {
	all := make(map[string]bool, len(o.configured))
	for name := range o.configured {
		all[name] = true
	}
	for name := range s.pauses {
		all[name] = true
	}
	for name := range s.backlogs {
		all[name] = true
	}
	for _, r := range s.reports {
		for _, status := range r.Statuses {
			all[status.Endpoint] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// views merges what was found out, in order of names.
func (s *survey) views(o *operator) []endpointView {
	statuses := make(map[string][]replicaView, len(o.configured))
	for _, r := range s.reports {
		for _, status := range r.Statuses {
			statuses[status.Endpoint] = append(statuses[status.Endpoint], replicaView{r.Replica, status})
		}
	}
	names := s.names(o)
	views := make([]endpointView, len(names))
	for i, name := range names {
		v := mergeReplicas(name, statuses[name])
		backlog := s.backlogs[name]
		v.Waiting, v.Oldest, v.Retries, v.DeadLetters = backlog.Waiting, backlog.Oldest, backlog.Retries, backlog.DeadLetters
		if v.State == "" {
			v.State, v.Reason = s.unseen(o, name)
		}
		// What is stored is the truth: a gateway hears of it a moment later.
		if p, ok := s.pauses[name]; ok {
			v.State, v.Since, v.Next, v.Pause = subscriber.StatePaused, p.Since, time.Time{}, &p
			v.Reason = describePause(p)
		}
		views[i] = v
	}
	return views
}

// unseen says why no gateway told how an endpoint does.
func (s *survey) unseen(o *operator, name string) (subscriber.State, string) {
	_, configured := o.configured[name]
	switch {
	case configured && s.noGateway == nil:
		return stateUnknown, "not in the configuration of the gateways that run"
	case configured, o.file == "" && s.noGateway != nil:
		return stateUnknown, "no gateway answers"
	default:
		return stateRemoved, "not in the configuration"
	}
}

// mergeReplicas makes one view of what the gateways say: the worst state, the
// sums of what is counted, and the mean latency of all attempts.
func mergeReplicas(name string, replicas []replicaView) endpointView {
	v := endpointView{Endpoint: name}
	order := statesByTrouble()
	var attempts, latency float64
	for _, r := range replicas {
		s := r.Status
		worse := slices.Index(order, s.State) < slices.Index(order, v.State)
		if v.State == "" || worse {
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

// describePause says who paused an endpoint, and why.
func describePause(p subscriber.Pause) string {
	text := "by " + cmp.Or(p.By, "somebody")
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}
