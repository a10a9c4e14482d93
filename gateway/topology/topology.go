package topology

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
	"fanjet/internal/wire"
)

const (
	// JetStream remembers each Nats-Msg-Id for a while, in memory, some 126 bytes
	// each. A gateway repeats a hop within seconds: as soon as its answer is missed,
	// or after an ack wait. What an outage of NATS or of all gateways longer than
	// hopWindow cuts off between publish and ack, or a replay that was killed and
	// is run again after it, can be delivered twice, with the same webhook-id.
	// Producers may take longer: duplicatesWindow is for the sources; and for the
	// dead letters, which are few.
	hopWindow        = 2 * time.Minute
	duplicatesWindow = 10 * time.Minute

	// hopHeadroom is what an event grows by, at most, when it is moved: the
	// internal headers, of which the subject (4 KiB) and the last error (512
	// bytes) are the longest, and those of a batch or a schedule. A source that
	// we create takes no event that could not be moved.
	hopHeadroom = 32 << 10

	// MatchGroup is where the matchers of a source wait: one is active. A client that
	// asked for nothing in matchPinnedTTL loses its place.
	MatchGroup     = "match"
	matchPinnedTTL = 3 * time.Second
	// MatchAckWait is shorter than that, so that the events that a dead matcher held come
	// before newer ones.
	MatchAckWait = 2 * time.Second

	// MaxAckPending is the most that one of our consumers has in work, of all replicas
	// together.
	MaxAckPending        = 65_536
	deliverMaxAckPending = MaxAckPending
)

// SourceStream is the stream of events that we create. It refuses events when
// it is full and drops none before its maximum age.
func SourceStream(source config.Source, replicas int, maxPayload int64) jetstream.StreamConfig {
	window := duplicatesWindow
	if source.MaxAge > 0 {
		window = min(window, source.MaxAge) // JetStream takes no longer one
	}
	return jetstream.StreamConfig{
		Name:               source.Stream,
		Description:        "Events for Fanjet",
		Subjects:           source.Subjects,
		Retention:          jetstream.LimitsPolicy,
		MaxAge:             source.MaxAge,
		MaxBytes:           unlimited(source.MaxBytes),
		MaxMsgSize:         int32(maxPayload - min(hopHeadroom, maxPayload/2)),
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         window,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// DeliveriesStream is the log of deliveries that wait for their first attempt.
// It is truncated below the ack floor of its consumer, and nothing else may
// remove a delivery.
func DeliveriesStream(names wire.Names, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               names.DeliveriesStream(),
		Description:        "Fanjet: deliveries that wait for their first attempt",
		Subjects:           []string{names.DeliverSubject("*")},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         hopWindow,
		AllowAtomicPublish: true,
	}
}

// RetriesStream holds the schedules of the next attempts and those that fired.
// JetStream allows no DiscardNew together with schedules; without limits there
// is nothing to discard. A schedule that fires is rolled up, hence AllowRollup.
func RetriesStream(names wire.Names, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               names.RetriesStream(),
		Description:        "Fanjet: attempts that wait for their time",
		Subjects:           []string{names.RetrySubject("*", "*"), names.DueSubject("*")},
		Retention:          jetstream.WorkQueuePolicy,
		Discard:            jetstream.DiscardOld,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         hopWindow,
		AllowRollup:        true,
		AllowAtomicPublish: true,
		AllowMsgSchedules:  true,
	}
}

// DeadLettersStream keeps dead letters until somebody replays or purges them,
// or until the limits that the configuration sets.
func DeadLettersStream(names wire.Names, limits config.DeadLetters, replicas int) jetstream.StreamConfig {
	window := duplicatesWindow
	if limits.MaxAge > 0 {
		window = min(window, limits.MaxAge)
	}
	return jetstream.StreamConfig{
		Name:               names.DeadLettersStream(),
		Description:        "Fanjet: dead letters",
		Subjects:           []string{names.DeadLetterSubject("*")},
		Retention:          jetstream.LimitsPolicy,
		MaxAge:             limits.MaxAge,
		MaxBytes:           unlimited(limits.MaxBytes),
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		Duplicates:         window,
		AllowDirect:        true,
		AllowAtomicPublish: true,
	}
}

// These bound the record of what operators did, in which one takes some 500 bytes.
const (
	auditMaxAge   = 90 * 24 * time.Hour
	auditMaxBytes = 64 << 20
)

// AuditStream keeps what operators did. Deliveries do not depend on it: it drops
// the oldest to make room. Nobody can take single records out of it.
func AuditStream(names wire.Names, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        names.AuditStream(),
		Description: "Fanjet: what operators did",
		Subjects:    []string{names.AuditSubject("*", "*")},
		Retention:   jetstream.LimitsPolicy,
		MaxAge:      auditMaxAge,
		MaxBytes:    auditMaxBytes,
		Discard:     jetstream.DiscardOld,
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		Duplicates:  hopWindow,
		AllowDirect: true,
		DenyDelete:  true,
		DenyPurge:   true,
	}
}

// MatchWindow is how many events of a source are in memory at once.
const MatchWindow = 4096

// StateBucket is the bucket of cursors.
func StateBucket(names wire.Names, replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:      names.StateBucket(),
		Description: "Fanjet: cursors and other small state",
		History:     1,
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
	}
}

// StateStream is what the stream below the bucket must be like; the
// client library creates it.
func StateStream(names wire.Names, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              "KV_" + names.StateBucket(),
		Subjects:          []string{"$KV." + names.StateBucket() + ".>"},
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		AllowRollup:       true,
		AllowDirect:       true,
	}
}

// unlimited spells "no limit" as JetStream does.
func unlimited(limit int64) int64 {
	if limit <= 0 {
		return -1
	}
	return limit
}
