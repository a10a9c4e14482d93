package subscriber

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/dlq"
	"fanjet/internal/publish"
	"fanjet/internal/wire"
	"fanjet/subscriber/egress"
	"fanjet/subscriber/endpoint"
)

// Publisher stores messages in one stream: a [publish.Publisher]. Both methods tell
// of success only once JetStream has acknowledged the message.
type Publisher interface {
	Enqueue(ctx context.Context, msg *nats.Msg, done publish.Completion) error
	Publish(ctx context.Context, msg *nats.Msg) error
}

// LetterWriter stores dead letters: a [dlq.Writer].
type LetterWriter interface {
	Write(ctx context.Context, env wire.Envelope, reason dlq.Reason, attempts int, eventHeaders nats.Header, data []byte, hopID string) error
}

// Options configure a [Dispatcher]. All fields are required unless they say
// otherwise.
type Options struct {
	Conn      *nats.Conn
	JetStream jetstream.JetStream
	Names     wire.Names
	State     jetstream.KeyValue // the state bucket
	Endpoints []endpoint.Settings
	Egress    egress.Policy
	Guard     egress.GuardOptions // what attempts may not reach under any policy; optional
	Version   string              // for the User-Agent

	// OpenDeliver and OpenDue make sure that the two consumers exist that
	// deliveries come from.
	OpenDeliver, OpenDue func(context.Context) error
	// OpenLane makes sure that the consumer of an endpoint's lane exists.
	OpenLane func(ctx context.Context, endpoint string, ordered bool) error
	// LookLane returns what that consumer is like; an error when there is none,
	// or when its ack floor cannot be trusted.
	LookLane func(ctx context.Context, endpoint string) (*jetstream.ConsumerInfo, error)
	// CheckLane returns an error when the ack floor of such a consumer cannot be
	// trusted.
	CheckLane func(info *jetstream.ConsumerInfo, endpoint string) error
	// Retries publishes to the retries stream, Lanes to that of the lanes. Lanes
	// must fail when the stream is full, and its queue must hold whatever the two
	// windows hold.
	Retries, Lanes Publisher
	Letters        LetterWriter
	// ServerTime returns the time by the NATS server's clock.
	ServerTime func() time.Time
	// OnState hears about parts that cannot work for the moment, and with nil
	// that they can again; see [intake.Options.State]; optional.
	OnState func(part string, err error)
	// OnPause hears of an endpoint that this process paused without an operator,
	// once that is stored; optional.
	OnPause func(ctx context.Context, endpoint string, p endpoint.Pause)

	RemovalGrace time.Duration // how long an unknown endpoint's deliveries wait; default 10 min
	LaneRest     time.Duration // how long the consumer of an empty lane stays; default 2 min
	Log          *zap.Logger
	Registerer   prometheus.Registerer
}
