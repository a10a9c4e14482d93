package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/audit"
	"fanjet/internal/broker"
	"fanjet/internal/jsapi"
	"fanjet/internal/slip"
	"fanjet/internal/state"
	"fanjet/internal/wire"
	"fanjet/subscriber/endpoint"
)

// ErrUnknownEndpoint means that an endpoint is in no configuration, and that
// nothing is stored for it. The error is an [UnknownEndpointError].
var ErrUnknownEndpoint = errors.New("no such endpoint")

// ErrNoState means that the NATS account has no state bucket.
var ErrNoState = errors.New("the state bucket does not exist")

// UnknownEndpointError is [ErrUnknownEndpoint] of one endpoint.
type UnknownEndpointError struct {
	Endpoint string
	Known    []string // the endpoints that something is known of
}

// Error implements error.
func (e *UnknownEndpointError) Error() string {
	return fmt.Sprintf("%v: %q%s", ErrUnknownEndpoint, e.Endpoint, slip.DidYouMean(e.Endpoint, e.Known))
}

// Is reports whether it is the error that is looked for.
func (e *UnknownEndpointError) Is(target error) bool { return target == ErrUnknownEndpoint }

// Options say where an [Operator] acts.
type Options struct {
	JetStream jetstream.JetStream // required
	Names     wire.Names
	// State is required, see [OpenState], to act on endpoints. Else it is opened
	// when something is to be read from it; where there is none, nothing is paused.
	State jetstream.KeyValue
	// Endpoints returns those of the configuration. It may be called concurrently.
	Endpoints func() []endpoint.Settings
	NoConfig  bool // there is no configuration, so what it lacks says nothing
	// Recorded hears of every record of an act, with the error if it could not be
	// stored; optional. It may be called concurrently.
	Recorded func(error)
	// Refusals hears what NATS refuses to the connection; optional.
	Refusals *broker.Refusals
}

// Operator sees and steers the endpoints of a whole installation: of all its
// gateways, and of what NATS holds. The command line and the HTTP API stand on
// it. Its methods may be called concurrently.
//
// Every act is recorded, see [audit.Log], whatever came of it. An act is not
// undone when its record cannot be stored: to hold an endpoint must not depend
// on that. The report says so then, in AuditError.
type Operator struct {
	opts  Options
	audit recorder
}

// NewOperator returns an operator. It asks nothing yet.
func NewOperator(o Options) *Operator {
	return &Operator{opts: o, audit: recorder{audit.New(o.JetStream, o.Names).Watching(o.Refusals), o.Recorded}}
}

// OpenState finds the state bucket, or returns [ErrNoState]: only the gateway
// creates it. The error is a [wire.NewerError] if only a newer Fanjet reads it.
func OpenState(ctx context.Context, js jetstream.JetStream, names wire.Names) (jetstream.KeyValue, error) {
	state, err := jsapi.OpenBucket(ctx, js, names.StateBucket())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, noState{fmt.Errorf("the state bucket %s does not exist; has the gateway ever run against this NATS, with the prefix %q?",
			names.StateBucket(), names.Prefix())}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the state bucket %s: %w", names.StateBucket(), err)
	}
	status, err := state.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the state bucket %s: %w", names.StateBucket(), err)
	}
	if err := wire.CheckStored("KV_"+names.StateBucket(), status.Metadata()); err != nil { // they are those of its stream
		return nil, err
	}
	return state, nil
}

// noState is [ErrNoState] in words that say more.
type noState struct{ error }

// Is reports whether it is the error that is looked for.
func (noState) Is(target error) bool { return target == ErrNoState }

// Configured returns the endpoints of the configuration by name.
func (o *Operator) Configured() map[string]endpoint.Settings {
	endpoints := o.opts.Endpoints()
	configured := make(map[string]endpoint.Settings, len(endpoints))
	for _, e := range endpoints {
		configured[e.Name] = e
	}
	return configured
}

func (o *Operator) conn() *nats.Conn { return o.opts.JetStream.Conn() }

func (o *Operator) api() jsapi.API { return jsapi.Of(o.opts.JetStream) }

// Endpoints shows the endpoints of the configuration, and all others that
// anything is known of, in order of names. The error is [ErrNoGateway] if
// nobody says how they do; what NATS knows is shown then nevertheless.
func (o *Operator) Endpoints(ctx context.Context) ([]EndpointView, error) {
	found, err := o.survey(ctx, "")
	if err != nil {
		return nil, err
	}
	return found.views(), found.noGateway
}

// Endpoint shows one endpoint, with its settings and what each gateway says. It
// returns [ErrUnknownEndpoint], and the view with [ErrNoGateway] as Endpoints
// does.
func (o *Operator) Endpoint(ctx context.Context, name string) (*EndpointView, error) {
	if err := o.Check(ctx, name); err != nil {
		return nil, err
	}
	found, err := o.survey(ctx, name)
	if err != nil {
		return nil, err
	}
	views := found.views()
	i := slices.IndexFunc(views, func(v EndpointView) bool { return v.Endpoint == name })
	if i < 0 {
		return nil, o.unknown(ctx, name) // it was known a moment ago
	}
	v := &views[i]
	for _, r := range found.reports {
		for _, s := range r.Statuses {
			if s.Endpoint == name {
				v.Replicas = append(v.Replicas, ReplicaView{r.Replica, s})
			}
		}
	}
	if e, ok := found.configured[name]; ok {
		v.Settings = settingsOf(&e)
	}
	if v.LastResume, err = state.LastResume(ctx, o.opts.State, name); err != nil {
		return nil, err
	}
	return v, found.noGateway
}

// Check returns [ErrUnknownEndpoint] unless an endpoint is in the configuration,
// has anything stored, or is in the configuration of a gateway that runs.
func (o *Operator) Check(ctx context.Context, name string) error {
	if _, ok := o.Configured()[name]; ok {
		return nil
	}
	if endpoint.CheckName(name) != nil {
		return o.unknown(ctx, name)
	}
	pauses, err := o.Paused(ctx)
	if err != nil {
		return err
	}
	if _, ok := pauses[name]; ok {
		return nil
	}
	backlog, err := BacklogOf(ctx, o.api(), o.opts.Names, name)
	if err != nil || backlog != (Backlog{}) {
		return err
	}
	reports, _, err := Statuses(ctx, o.conn(), o.opts.Names, name)
	switch {
	case errors.Is(err, ErrNoGateway):
	case err != nil:
		return err
	case slices.ContainsFunc(reports, func(r Report) bool { return len(r.Statuses) > 0 }):
		return nil
	}
	return o.unknown(ctx, name)
}

// Paused returns the pauses in force, by endpoint.
func (o *Operator) Paused(ctx context.Context) (map[string]endpoint.Pause, error) {
	bucket, err := o.state(ctx)
	if bucket == nil {
		return nil, err
	}
	return state.Pauses(ctx, bucket)
}

// removed returns the removed endpoints that deliveries wait for.
func (o *Operator) removed(ctx context.Context) (map[string]state.Removed, error) {
	bucket, err := o.state(ctx)
	if bucket == nil {
		return nil, err
	}
	return state.RemovedEndpoints(ctx, bucket)
}

// state is the state bucket; nil if there is none, or an error.
func (o *Operator) state(ctx context.Context) (jetstream.KeyValue, error) {
	if o.opts.State != nil {
		return o.opts.State, nil
	}
	state, err := OpenState(ctx, o.opts.JetStream, o.opts.Names)
	if errors.Is(err, ErrNoState) {
		return nil, nil
	}
	return state, err
}

// unknown is the error of an endpoint that nothing is known of.
func (o *Operator) unknown(ctx context.Context, name string) error {
	known := slices.Collect(maps.Keys(o.Configured()))
	if found, err := o.survey(ctx, ""); err == nil {
		known = found.names()
	}
	return &UnknownEndpointError{Endpoint: name, Known: known}
}

// recorder records acts and tells of it.
type recorder struct {
	log      *audit.Log
	recorded func(error) // optional
}

func (r recorder) write(ctx context.Context, by audit.Actor, record audit.Record) error {
	err := r.log.Write(ctx, by, record)
	if r.recorded != nil {
		r.recorded(err)
	}
	return err
}

// errorText is the text of an error, empty if there is none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
