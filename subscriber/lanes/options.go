package lanes

import (
	"context"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/internal/intake"
	"fanjet/internal/wire"
)

// Dispatcher is who delivers what comes from the lanes. Its methods are called
// concurrently, and those that are not said to hear or receive something while the
// lanes are locked: of the methods of [Lanes] they may call [Lanes.Look] only.
type Dispatcher interface {
	// Endpoint returns an endpoint of the configuration; nil if it is not there.
	Endpoint(name string) Endpoint
	// Endpoints are all of them.
	Endpoints() iter.Seq2[string, Endpoint]
	// MissingSince returns since when an endpoint is not in the configuration.
	MissingSince(ctx context.Context, endpoint string) (time.Time, error)
	// Join has an endpoint's deliveries go to its lane, where others wait already.
	Join(endpoint string, now time.Time)
	// Receive receives a message from the wire that came from an endpoint's lane. It
	// never blocks. removed says that the endpoint is missing for so long that what
	// waits for it is given up. It returns how many deliveries the endpoint can use
	// at once, if these are more now; 0: it is as it was.
	Receive(endpoint string, m *intake.Message, removed bool) (window int)
	// Polled hears that the stream was asked what the lanes hold.
	Polled(ctx context.Context)
}

// Endpoint is an endpoint at work. Its methods are called as those of the
// [Dispatcher].
type Endpoint interface {
	// Laned reports whether its new deliveries belong into its lane.
	Laned() bool
	// LaneReady reports whether deliveries may be taken from its lane. If not, at
	// is when that may change by itself.
	LaneReady(now time.Time) (is bool, at time.Time)
	// LaneWindow is how many deliveries of its lane it can use at once.
	LaneWindow(now time.Time) int
	// OpensLane hears that the lane is opened anew, and reports whether it hands
	// out one delivery after the other.
	OpensLane() (ordered bool)
	// TakeLane returns what came from its lane and was not attempted; it has that
	// no more.
	TakeLane() []Message
	// Rejoin brings it back to the fast lane, if nothing but its lane has kept it
	// from it for so long. It reports whether it is back.
	Rejoin(now time.Time, calm time.Duration) bool
}

// Consumers are those of the lanes. Its methods may be called concurrently.
type Consumers interface {
	// OpenLane makes sure that the consumer of an endpoint's lane exists.
	OpenLane(ctx context.Context, endpoint string, ordered bool) error
	// LookLane returns what that consumer is like; an error when there is none,
	// or when its ack floor cannot be trusted.
	LookLane(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error)
	// CheckLane returns an error when the ack floor of such a consumer cannot be
	// trusted.
	CheckLane(info *jetstream.ConsumerInfo, endpoint string) error
}

// Message is what came from a lane and is given back to it: an [intake.Message].
type Message interface{ Nak() }

// Options configure [Lanes]. What is not described is as in the options of the
// dispatcher.
type Options struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Names     wire.Names
	Prefix    string // see [intake.Options.Prefix]

	Consumers
	// ServerTime returns the time by the NATS server's clock.
	ServerTime func() time.Time

	Beat         time.Duration // how often what is held in memory is reported in progress
	RemovalGrace time.Duration // how long an unknown endpoint's deliveries wait
	LaneRest     time.Duration // how long the consumer of an empty lane stays

	Log, Sampled *zap.Logger // Sampled: for what may happen with every delivery
	Registerer   prometheus.Registerer
}
