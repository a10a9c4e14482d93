package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/broker"
	"fanjet/internal/wire"
)

// refusal is a stream or consumer that somebody must mend before Fanjet can
// work on it without losing events.
type refusal struct {
	object string // such as "stream EVENTS"
	what   string // what is wrong: the field and its value
	why    string // what would come of it
	fix    string // what to do
	cause  error  // the server's error, if it refused
}

func (r *refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.object + ": " + r.what)
	if r.why != "" {
		b.WriteString(": " + r.why)
	}
	if r.cause != nil {
		fmt.Fprintf(&b, " (%v)", r.cause)
	}
	return b.String() + "; fix: " + r.fix
}

func (r *refusal) Unwrap() error { return r.cause }

// isRefusal reports whether an error is one that does not pass by itself.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	_, newer := errors.AsType[*wire.NewerError](err)
	return ok || newer
}

// Codes of API errors that the client library does not name.
const (
	codeAccountLimits           jetstream.ErrorCode = 10002
	codeNoPeers                 jetstream.ErrorCode = 10005
	codeMaxStreams              jetstream.ErrorCode = 10027
	codeNoStorage               jetstream.ErrorCode = 10047
	codeSubjectOverlap          jetstream.ErrorCode = 10065
	codeReplicasWithoutCluster  jetstream.ErrorCode = 10074
	codeWorkQueueUnfiltered     jetstream.ErrorCode = 10099
	codeWorkQueueNotUnique      jetstream.ErrorCode = 10100
	codeMaxAckPendingOverLimits jetstream.ErrorCode = 10121
)

// explainStream says what an error of creating or updating a stream means.
// Errors that pass by themselves come back as they are, with the stream's
// name.
func explainStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, err error) error {
	object := "stream " + want.Name
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case !ok, broker.Transient(err),
		errors.Is(err, jetstream.ErrStreamNameAlreadyInUse), // another replica was faster
		api.ErrorCode == codeNoPeers:                        // fewer servers are up than there are replicas to place
		return fmt.Errorf("%s: %w", object, err)
	}
	r := &refusal{object: object, what: "the server refuses it", cause: err, fix: "change what the server names"}
	switch api.ErrorCode {
	case codeSubjectOverlap:
		r.what = "another stream takes some of its subjects"
		if owners := overlapping(ctx, js, want); len(owners) > 0 {
			r.what = "its subjects overlap those of the stream " + strings.Join(owners, " and ")
		}
		r.why = "JetStream stores a message in one stream only"
		r.fix = "narrow the subjects of one of them (" + strings.Join(want.Subjects, ", ") + "), use the other stream as the source with create: false, or choose another nats.prefix"
	case codeReplicasWithoutCluster:
		r.what = fmt.Sprintf("%d replicas are not possible", want.Replicas)
		r.why = "the NATS server is not part of a cluster"
		r.fix = "set nats.replicas: 1, or use a cluster"
	case codeNoStorage, codeAccountLimits:
		r.what = "there is no room for it"
		r.fix = "lower max_bytes, free disk space, or raise the JetStream limits of the server and the account"
	case codeMaxStreams:
		r.what = "the account has as many streams as it may have"
		r.fix = "raise the account's limit of streams, or remove one that is not needed"
	}
	return r
}

// overlapping names the other streams that take a subject of want.
func overlapping(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) []string {
	var owners []string
	for _, subject := range want.Subjects {
		names := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range names.Name() {
			if name != want.Name && !slices.Contains(owners, name) {
				owners = append(owners, name)
			}
		}
	}
	slices.Sort(owners)
	return owners
}

// explainConsumer says what an error of creating or updating a consumer means.
func explainConsumer(stream string, want jetstream.ConsumerConfig, err error) error {
	object := consumerObject(stream, want.Durable)
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return &refusal{object: object, what: "it is a push consumer", why: "it hands messages to whoever listens, not to Fanjet", fix: removeConsumer(stream, want.Durable)}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || broker.Transient(err) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("%s: %w", object, err)
	}
	r := &refusal{object: object, what: "the server refuses it", cause: err, fix: removeConsumer(stream, want.Durable)}
	switch api.ErrorCode {
	case jetstream.JSErrCodeMaximumConsumersLimit:
		r.what = "the stream has as many consumers as it may have"
		r.fix = "raise max_consumers of the stream or the account's limit, or remove a consumer that is not needed"
	case codeMaxAckPendingOverLimits:
		r.what = fmt.Sprintf("max_ack_pending %d is more than is allowed", want.MaxAckPending)
		r.fix = "raise that limit of the stream, the account or the server"
	case codeWorkQueueUnfiltered, codeWorkQueueNotUnique:
		r.what = "another consumer takes the same messages"
		r.why = "a work queue gives each message to one consumer"
		r.fix = "remove the other consumer: nats consumer ls " + stream
	}
	return r
}

func consumerObject(stream, name string) string {
	return "consumer " + name + " of the stream " + stream
}

// removeConsumer is the remedy for a consumer that cannot be changed.
func removeConsumer(stream, name string) string {
	return "nats consumer rm " + stream + " " + name + ", then start again; it is made anew and repeats what the stream still holds"
}

// editStream is a command that changes a stream.
func editStream(stream, flags string) string { return "nats stream edit " + stream + " " + flags }

// subjectsFlag is quoted, for a shell reads wildcards its own way.
func subjectsFlag(subjects []string) string {
	return "--subjects '" + strings.Join(subjects, ",") + "'"
}

// period formats a duration without units that are zero.
func period(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
