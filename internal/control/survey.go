package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"fanjet/internal/state"
	"fanjet/subscriber/endpoint"
)

// survey is what was found out about endpoints.
type survey struct {
	configured map[string]endpoint.Settings
	noConfig   bool

	reports   []Report
	gateways  Gateways
	noGateway error // nil, or why nobody says how endpoints do
	pauses    map[string]endpoint.Pause
	backlogs  map[string]Backlog
	removed   map[string]state.Removed
}

// surveys is how often it is asked, at most, until gateways know what is stored.
const surveys = 4

// survey asks the gateways and NATS about one endpoint; about all without a name.
// A gateway hears that a pause has ended a moment after that is stored.
func (o *Operator) survey(ctx context.Context, endpoint string) (s *survey, err error) {
	for range surveys {
		s, err = o.surveyOnce(ctx, endpoint)
		if err != nil || !s.outdated() {
			break
		}
	}
	return s, err
}

// outdated reports whether a gateway takes an endpoint for paused that is not, as
// far as is stored.
func (s *survey) outdated() bool {
	for _, r := range s.reports {
		for _, status := range r.Statuses {
			if _, stored := s.pauses[status.Endpoint]; status.State == endpoint.StatePaused && !stored {
				return true
			}
		}
	}
	return false
}

// ask asks the gateways about some endpoints, or about all, and NATS about the pauses.
func (s *survey) ask(ctx context.Context, group *errgroup.Group, o *Operator, endpoints []string) {
	group.Go(func() (err error) {
		s.reports, s.gateways, err = Statuses(ctx, o.conn(), o.opts.Names, endpoints...)
		if errors.Is(err, ErrNoGateway) {
			s.noGateway, err = err, nil
		}
		return err
	})
	group.Go(func() (err error) {
		s.pauses, err = o.Paused(ctx)
		return err
	})
}

func (o *Operator) surveyOnce(ctx context.Context, endpoint string) (*survey, error) {
	s := &survey{configured: o.Configured(), noConfig: o.opts.NoConfig}
	var only []string
	if endpoint != "" {
		only = []string{endpoint}
	}
	group, ctx := errgroup.WithContext(ctx)
	s.ask(ctx, group, o, only)
	group.Go(func() (err error) {
		s.removed, err = o.removed(ctx)
		return err
	})
	group.Go(func() (err error) {
		if endpoint == "" {
			s.backlogs, err = Backlogs(ctx, o.api(), o.opts.Names, slices.Collect(maps.Keys(s.configured)))
			return err
		}
		backlog, err := BacklogOf(ctx, o.api(), o.opts.Names, endpoint)
		s.backlogs = map[string]Backlog{endpoint: backlog}
		return err
	})
	return s, group.Wait()
}

// names returns the endpoints of the configuration and all others that something
// is known of, sorted.
func (s *survey) names() []string {
	all := make(map[string]bool, len(s.configured))
	for name := range s.configured {
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
func (s *survey) views() []EndpointView {
	statuses := make(map[string][]ReplicaView, len(s.configured))
	for _, r := range s.reports {
		for _, status := range r.Statuses {
			statuses[status.Endpoint] = append(statuses[status.Endpoint], ReplicaView{r.Replica, status})
		}
	}
	names := s.names()
	views := make([]EndpointView, len(names))
	for i, name := range names {
		v := mergeReplicas(name, statuses[name])
		backlog := s.backlogs[name]
		v.Waiting, v.Oldest, v.Retries, v.DeadLetters = backlog.Waiting, backlog.Oldest, backlog.Retries, backlog.DeadLetters
		if v.State == "" {
			v.State, v.Reason = s.unseen(name)
		}
		// The stored pause is the truth: a gateway hears of it a moment later.
		if p, ok := s.pauses[name]; ok {
			v.State, v.Since, v.Next, v.Pause = endpoint.StatePaused, p.Since, time.Time{}, &p
			v.Reason = DescribePause(p)
		}
		if r, ok := s.removed[name]; ok && (v.State == StateRemoved || v.State == StateUnknown) {
			v.Removed, v.Since, v.Next = &r, r.Since, r.Until
			v.Reason += "; its deliveries become dead letters at " + r.Until.Format(time.RFC3339)
		}
		v.Gateways = s.gateways
		views[i] = v
	}
	return views
}

// unseen says why no gateway told how an endpoint does.
func (s *survey) unseen(name string) (endpoint.State, string) {
	_, configured := s.configured[name]
	switch {
	case configured && s.noGateway == nil:
		return StateUnknown, "not in the configuration of the gateways that run"
	case configured, s.noConfig && s.noGateway != nil:
		return StateUnknown, "no gateway answers"
	default:
		return StateRemoved, "not in the configuration"
	}
}
