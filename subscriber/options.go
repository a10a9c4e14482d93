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
	"fanjet/subscriber/lanes"
)

// Consumers are those that deliveries come from. Its methods may be called
// concurrently.
type Consumers interface {
	// OpenDeliver and OpenDue make sure that the two exist that all endpoints share.
	OpenDeliver(context.Context) error
	OpenDue(context.Context) error
	lanes.Consumers
}

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

// Progress is how far the events of a source have come.
type Progress struct {
	Last uint64 // the sequence of its last event
	// Settled is the sequence up to which all that became of the events is stored, or
	// was delivered: nobody holds one of them any more.
	Settled uint64
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

	Consumers
	// Retries publishes to the retries stream, Lanes to that of the lanes. Lanes
	// must fail when the stream is full, and its queue must hold whatever the two
	// windows hold.
	Retries, Lanes Publisher
	Letters        LetterWriter
	// Direct has deliveries taken that a matcher offers without having stored them.
	Direct bool
	// ServerTime returns the time by the NATS server's clock.
	ServerTime func() time.Time
	// OnState hears about parts that cannot work for the moment, and with nil
	// that they can again; see [intake.Options.State]; optional.
	OnState func(part string, err error)
	// OnPause hears of an endpoint that this process paused without an operator,
	// once that is stored; optional.
	OnPause func(ctx context.Context, endpoint string, p endpoint.Pause)

	// OthersLive reports whether another gateway of the installation lives, and was
	// heard within a few seconds. It is cheap, may be called concurrently, and must not
	// be called before Run; optional: there are none.
	OthersLive func() bool

	// Sources returns how far the events of each source have come, by stream, whoever
	// matches them. The error means that it is not known of all. It may be called
	// concurrently; optional: no delivery comes from anywhere but the log.
	Sources func(context.Context) (map[string]Progress, error)

	RemovalGrace time.Duration // how long an unknown endpoint's deliveries wait; default 10 min
	LaneRest     time.Duration // how long the consumer of an empty lane stays; default 2 min
	Log          *zap.Logger
	Registerer   prometheus.Registerer
}
