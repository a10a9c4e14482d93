package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fanjet/dlq"
	"fanjet/subscriber/endpoint"

	"golang.org/x/sync/errgroup"
)

// ErrRemoved means that an endpoint is in no configuration any more.
var ErrRemoved = errors.New("the endpoint is not in the configuration")

// manyEndpoints is from how many endpoints on gateways are asked about all of
// theirs: a question that names them all would be too large.
const manyEndpoints = 500

// Waiting are letters that, once they are replayed, wait for their endpoint.
type Waiting struct {
	Endpoint string         `json:"endpoint"`
	Letters  int            `json:"letters"`
	State    endpoint.State `json:"state"` // of several gateways the worst
	Reason   string         `json:"reason,omitempty"`
	Since    time.Time      `json:"since,omitzero"` // when the state began
	Until    time.Time      `json:"until,omitzero"` // the next probe, or the end of the wait; zero: somebody has to act
}

// String says how many letters wait, why, and until when.
func (w Waiting) String() string {
	text := fmt.Sprintf("%d letters will wait for %s, which is %s", w.Letters, w.Endpoint, w.State)
	if w.Letters == 1 {
		text = fmt.Sprintf("1 letter will wait for %s, which is %s", w.Endpoint, w.State)
	}
	if !w.Since.IsZero() {
		text += " since " + w.Since.UTC().Format(time.RFC3339)
	}
	if w.Reason != "" {
		text += " (" + w.Reason + ")"
	}
	switch until := w.Until.UTC().Format(time.RFC3339); {
	case w.State == endpoint.StatePaused:
		return text + ", until it is resumed"
	case w.State == StateUnknown:
		return text + ", until a gateway that knows it runs"
	case w.State == endpoint.StateRefusing && w.Until.IsZero():
		return text + ", until it accepts one"
	case w.State == endpoint.StateRefusing:
		return text + ", until it accepts one; the next attempt is at " + until
	case w.Until.IsZero():
		return text + ", until it answers again"
	case w.State == endpoint.StateBackingOff:
		return text + ", until " + until
	default:
		return text + ", until it answers again; the next probe is at " + until
	}
}

// Outlook is what a replay of letters meets.
type Outlook struct {
	Waiting []Waiting // in order of endpoints
	Removed []string  // endpoints to which nothing is delivered any more
}

// Refuse returns [ErrRemoved] for letters of endpoints that are removed.
func (o *Outlook) Refuse(endpoint string) error {
	if !slices.Contains(o.Removed, endpoint) {
		return nil
	}
	return fmt.Errorf("%w: %s; declare it again and replay then, or drain or purge its letters", ErrRemoved, endpoint)
}

// goes reports whether deliveries go out to an endpoint in a state, soon if not
// at once.
func goes(s endpoint.State) bool {
	return slices.Contains([]endpoint.State{
		endpoint.StateHealthy, endpoint.StateSlow, endpoint.StateLimited, endpoint.StateHalfOpen,
	}, s)
}

// Outlook says what a replay of so many letters meets. The gateways are asked
// for it: it takes a third of a second. The error of a filter that names an
// endpoint which is removed is [ErrRemoved].
func (l *Letters) Outlook(ctx context.Context, f dlq.Filter, letters dlq.Counts) (Outlook, error) {
	var outlook Outlook
	if len(letters) == 0 {
		return outlook, nil
	}
	found, err := l.operator.surveyOf(ctx, slices.Sorted(maps.Keys(letters)))
	if err != nil {
		return outlook, err
	}
	views, answered := found.views(), found.answered()
	for i := range views {
		v := &views[i]
		n, ok := letters[v.Endpoint]
		if !ok {
			continue
		}
		if state, _ := found.unseen(v.Endpoint); !answered[v.Endpoint] && state == StateRemoved {
			outlook.Removed = append(outlook.Removed, v.Endpoint)
			continue
		}
		if !goes(v.State) {
			outlook.Waiting = append(outlook.Waiting, Waiting{
				Endpoint: v.Endpoint, Letters: n, State: v.State, Reason: v.Reason, Since: v.Since, Until: v.Next,
			})
		}
	}
	return outlook, outlook.Refuse(f.Endpoint)
}

// surveyOf asks the gateways about some endpoints, and NATS about their pauses.
func (o *Operator) surveyOf(ctx context.Context, endpoints []string) (*survey, error) {
	s := &survey{configured: o.Configured(), backlogs: make(map[string]Backlog)}
	// A configuration without endpoints is that of a machine that only has commands.
	s.noConfig = o.opts.NoConfig || len(s.configured) == 0
	for _, name := range endpoints {
		s.backlogs[name] = Backlog{} // that it is shown
	}
	if len(endpoints) > manyEndpoints {
		endpoints = nil
	}
	group, ctx := errgroup.WithContext(ctx)
	s.ask(ctx, group, o, endpoints)
	return s, group.Wait()
}

// answered returns the endpoints that are in the configuration of a gateway that
// answered.
func (s *survey) answered() map[string]bool {
	known := make(map[string]bool)
	for _, r := range s.reports {
		for _, status := range r.Statuses {
			known[status.Endpoint] = true
		}
	}
	return known
}
