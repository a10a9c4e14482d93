package topology

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

// Refusal is a stream or consumer that somebody must mend before Fanjet can
// work on it without losing events.
type Refusal struct {
	Object string // such as "stream EVENTS"
	What   string // what is wrong: the field and its value
	Why    string // what would come of it
	Fix    string // what to do
	Cause  error  // the server's error, if it refused
}

func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.Object + ": " + r.What)
	if r.Why != "" {
		b.WriteString(": " + r.Why)
	}
	if r.Cause != nil {
		fmt.Fprintf(&b, " (%v)", r.Cause)
	}
	return b.String() + "; fix: " + r.Fix
}

func (r *Refusal) Unwrap() error { return r.Cause }

// IsRefusal reports whether an error is one that does not pass by itself.
func IsRefusal(err error) bool {
	_, ok := errors.AsType[*Refusal](err)
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
	r := &Refusal{Object: object, What: "the server refuses it", Cause: err, Fix: "change what the server names"}
	switch api.ErrorCode {
	case codeSubjectOverlap:
		r.What = "another stream takes some of its subjects"
		if owners := overlapping(ctx, js, want); len(owners) > 0 {
			r.What = "its subjects overlap those of the stream " + strings.Join(owners, " and ")
		}
		r.Why = "JetStream stores a message in one stream only"
		r.Fix = "narrow the subjects of one of them (" + strings.Join(want.Subjects, ", ") + "), use the other stream as the source with create: false, or choose another nats.prefix"
	case codeReplicasWithoutCluster:
		r.What = fmt.Sprintf("%d replicas are not possible", want.Replicas)
		r.Why = "the NATS server is not part of a cluster"
		r.Fix = "set nats.replicas: 1, or use a cluster"
	case codeNoStorage, codeAccountLimits:
		r.What = "there is no room for it"
		r.Fix = "lower max_bytes, free disk space, or raise the JetStream limits of the server and the account"
	case codeMaxStreams:
		r.What = "the account has as many streams as it may have"
		r.Fix = "raise the account's limit of streams, or remove one that is not needed"
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
	object := ConsumerObject(stream, want.Durable)
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return &Refusal{Object: object, What: "it is a push consumer", Why: "it hands messages to whoever listens, not to Fanjet", Fix: removeConsumer(stream, want.Durable)}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || broker.Transient(err) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerExists) {
		return fmt.Errorf("%s: %w", object, err)
	}
	r := &Refusal{Object: object, What: "the server refuses it", Cause: err, Fix: removeConsumer(stream, want.Durable)}
	switch api.ErrorCode {
	case jetstream.JSErrCodeMaximumConsumersLimit:
		r.What = "the stream has as many consumers as it may have"
		r.Fix = "raise max_consumers of the stream or the account's limit, or remove a consumer that is not needed"
	case codeMaxAckPendingOverLimits:
		r.What = fmt.Sprintf("max_ack_pending %d is more than is allowed", want.MaxAckPending)
		r.Fix = "raise that limit of the stream, the account or the server"
	case codeWorkQueueUnfiltered, codeWorkQueueNotUnique:
		r.What = "another consumer takes the same messages"
		r.Why = "a work queue gives each message to one consumer"
		r.Fix = "remove the other consumer: nats consumer ls " + stream
	}
	return r
}

// ConsumerObject names a consumer in messages.
func ConsumerObject(stream, name string) string {
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
