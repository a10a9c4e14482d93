package wire

import (
	"strings"
	"time"
)

// DefaultPrefix is the prefix of every name unless the configuration sets
// another one.
const DefaultPrefix = "fanjet"

// Names are the names that one installation uses in its NATS account. Two
// installations with different prefixes share nothing.
type Names struct {
	prefix, upper string
}

// NewNames returns the names under prefix; an empty prefix means
// [DefaultPrefix]. The prefix must be one NATS subject token of lower-case
// letters, digits and dashes; the configuration checks that.
func NewNames(prefix string) Names {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return Names{prefix: prefix, upper: strings.ToUpper(prefix)}
}

// Prefix is the prefix itself.
func (n Names) Prefix() string { return n.prefix }

// Streams. Each holds one stage of a delivery's life.

// DeliveriesStream is the log of deliveries that wait for their first attempt.
func (n Names) DeliveriesStream() string { return n.upper + "_DELIVERIES" }

// RetriesStream holds the schedules of the next attempts, and those that fired.
func (n Names) RetriesStream() string { return n.upper + "_RETRIES" }

// LanesStream holds the deliveries of endpoints that need a lane of their own.
func (n Names) LanesStream() string { return n.upper + "_LANES" }

// DeadLettersStream holds the dead letters.
func (n Names) DeadLettersStream() string { return n.upper + "_DLQ" }

// AuditStream holds the record of what operators did.
func (n Names) AuditStream() string { return n.upper + "_AUDIT" }

// StateBucket is the key-value bucket of cursors and other small state.
func (n Names) StateBucket() string { return n.prefix + "-state" }

// Consumers.

// MatchConsumer is the durable consumer of every source stream.
func (n Names) MatchConsumer() string { return n.prefix + "-match" }

// DeliverConsumer is the durable consumer of [Names.DeliveriesStream].
func (n Names) DeliverConsumer() string { return n.prefix + "-deliver" }

// DueConsumer is the durable consumer of the schedules that fired.
func (n Names) DueConsumer() string { return n.prefix + "-due" }

// LaneConsumer is the durable consumer of an endpoint's lane.
func (n Names) LaneConsumer(endpoint string) string { return n.prefix + "-lane-" + endpoint }

// Subjects. The endpoint is always the third token, but for [Names.AuditSubject].

// EndpointOf returns the endpoint of such a subject; empty: it has none.
func EndpointOf(subject string) string {
	_, rest, _ := strings.Cut(subject, ".")
	_, rest, _ = strings.Cut(rest, ".")
	endpoint, _, _ := strings.Cut(rest, ".")
	return endpoint
}

// DeliverSubject is where an endpoint's deliveries are published.
func (n Names) DeliverSubject(endpoint string) string { return n.prefix + ".deliver." + endpoint }

// RetrySubject is where the schedule of a delivery's next attempt is
// published. JetStream keeps one schedule a subject, so the delivery's key is
// part of it.
func (n Names) RetrySubject(endpoint, key string) string {
	return n.prefix + ".retry." + endpoint + "." + key
}

// KeyOf returns the key of a subject of a retry.
func KeyOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// DueSubject is where a schedule fires to.
func (n Names) DueSubject(endpoint string) string { return n.prefix + ".due." + endpoint }

// LaneSubject is where the deliveries of an endpoint's own lane are published.
func (n Names) LaneSubject(endpoint string) string { return n.prefix + ".lane." + endpoint }

// DeadLetterSubject is where an endpoint's dead letters are published.
func (n Names) DeadLetterSubject(endpoint string) string { return n.prefix + ".dlq." + endpoint }

// AuditSubject is where what was done is recorded. The way on which it was asked
// for is a token, so that the permissions of NATS say who may record what.
func (n Names) AuditSubject(via, action string) string {
	return n.prefix + ".audit." + via + "." + action
}

// AllSubjects covers every subject of the installation; sources must not
// overlap it.
func (n Names) AllSubjects() string { return n.prefix + ".>" }

// GatewayInbox is the subject below which gateways wait for answers of NATS, and
// for the messages that they pull: others should not listen there.
func (n Names) GatewayInbox() string { return "_INBOX." + n.prefix + "-gateway" }

// OperatorInbox is the subject below which commands wait for answers.
func (n Names) OperatorInbox() string { return "_INBOX." + n.prefix + "-operator" }

// Control subjects. What is sent on them is stored nowhere.

// ControlEndpointsSubject is where every gateway answers how its endpoints do.
func (n Names) ControlEndpointsSubject() string { return n.prefix + ".ctl.endpoints" }

// ControlAliveSubject is where every gateway says now and then that it lives, and when
// it ends.
func (n Names) ControlAliveSubject() string { return n.prefix + ".ctl.alive" }

// ControlCanarySubject is where a gateway hears that a canary of its own came
// through.
func (n Names) ControlCanarySubject(replica string) string {
	return n.prefix + ".ctl.canary." + replica
}

// ControlReplaySubject is where replays of dead letters hear that others have
// removed letters.
func (n Names) ControlReplaySubject() string { return n.prefix + ".ctl.letters.replay" }

// ControlRemoveSubject is where those who remove dead letters hear that a replay
// had delivered some.
func (n Names) ControlRemoveSubject() string { return n.prefix + ".ctl.letters.remove" }

// ControlPingSubject is where one of the gateways takes the order to send a test
// event to an endpoint.
func (n Names) ControlPingSubject(endpoint string) string { return n.prefix + ".ctl.ping." + endpoint }

// ControlResumeSubject is where every gateway ends the waits of an endpoint that
// is not paused, and answers which those were.
func (n Names) ControlResumeSubject(endpoint string) string {
	return n.prefix + ".ctl.resume." + endpoint
}

// DeliverAckWait is what the delivery consumers must have: how long after a gateway
// was killed its deliveries come again.
const DeliverAckWait = 10 * time.Second
