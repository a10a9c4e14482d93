package topology

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/config"
	"fanjet/internal/broker"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// topologyFixture is a server, the default configuration and its names.
type topologyFixture struct {
	t      *testing.T
	js     jetstream.JetStream
	server *natstest.Server
	names  wire.Names
	config *config.Config
	logs   *observer.ObservedLogs
	log    *zap.Logger
}

func newTopologyFixture(t *testing.T) *topologyFixture {
	t.Helper()
	server := natstest.Start(t, natstest.Options{})
	core, logs := observer.New(zapcore.InfoLevel)
	return &topologyFixture{
		t: t, js: server.JetStream(), server: server, names: wire.NewNames(""), logs: logs, log: zap.New(core),
		config: &config.Config{
			NATS: broker.Settings{Replicas: 1},
			Sources: []config.Source{
				{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour},
			},
		},
	}
}

func (f *topologyFixture) ensure() error {
	return Ensure(f.t.Context(), f.js, f.names, f.config, f.log)
}

func (f *topologyFixture) mustEnsure() {
	f.t.Helper()
	if err := f.ensure(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *topologyFixture) stream(name string) *jetstream.StreamInfo {
	f.t.Helper()
	s, err := f.js.Stream(f.t.Context(), name)
	if err != nil {
		f.t.Fatalf("stream %s: %v", name, err)
	}
	return s.CachedInfo()
}

func (f *topologyFixture) create(config jetstream.StreamConfig) {
	f.t.Helper()
	if _, err := f.js.CreateStream(f.t.Context(), config); err != nil {
		f.t.Fatalf("create %s: %v", config.Name, err)
	}
}

func (f *topologyFixture) streamNames() []string {
	f.t.Helper()
	list := f.js.StreamNames(f.t.Context())
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// The table of streams in the design cannot change once users have them.
func TestTopologyFresh(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.config.Sources = append(f.config.Sources, config.Source{
		Stream: "AUDIT", Subjects: []string{"audit.*", "log.>"}, Create: true, MaxAge: time.Minute, MaxBytes: 1 << 30,
	})
	f.config.DeadLetters = config.DeadLetters{MaxAge: 720 * time.Hour, MaxBytes: 1 << 20}
	f.mustEnsure()

	type limits struct {
		age     time.Duration
		bytes   int64
		msgSize int32
		window  time.Duration
	}
	const twoMinutes, tenMinutes = 2 * time.Minute, 10 * time.Minute
	for _, test := range []struct {
		name      string
		subjects  []string
		retention jetstream.RetentionPolicy
		discard   jetstream.DiscardPolicy
		limits    limits
		schedules bool
		direct    bool
		atomic    bool
	}{
		{"EVENTS", []string{"events.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, limits{168 * time.Hour, -1, 1<<20 - 32<<10, tenMinutes}, false, true, true},
		{"AUDIT", []string{"audit.*", "log.>"}, jetstream.LimitsPolicy, jetstream.DiscardNew, limits{time.Minute, 1 << 30, 1<<20 - 32<<10, time.Minute}, false, true, true},
		{"FANJET_DELIVERIES", []string{"fanjet.deliver.*"}, jetstream.LimitsPolicy, jetstream.DiscardNew, limits{0, -1, -1, twoMinutes}, false, false, true},
		{"FANJET_RETRIES", []string{"fanjet.retry.*.*", "fanjet.due.*"}, jetstream.WorkQueuePolicy, jetstream.DiscardOld, limits{0, -1, -1, twoMinutes}, true, false, true},
		{"FANJET_LANES", []string{"fanjet.lane.*"}, jetstream.LimitsPolicy, jetstream.DiscardNew, limits{0, -1, -1, twoMinutes}, false, true, true},
		{"FANJET_DLQ", []string{"fanjet.dlq.*"}, jetstream.LimitsPolicy, jetstream.DiscardNew, limits{720 * time.Hour, 1 << 20, -1, tenMinutes}, false, true, true},
	} {
		c := f.stream(test.name).Config
		if !slices.Equal(c.Subjects, test.subjects) {
			t.Errorf("%s: subjects %v, want %v", test.name, c.Subjects, test.subjects)
		}
		if c.Retention != test.retention || c.Discard != test.discard || c.Storage != jetstream.FileStorage || c.Replicas != 1 {
			t.Errorf("%s: retention %v, discard %v, storage %v, replicas %d", test.name, c.Retention, c.Discard, c.Storage, c.Replicas)
		}
		if got := (limits{c.MaxAge, c.MaxBytes, c.MaxMsgSize, c.Duplicates}); got != test.limits {
			t.Errorf("%s: limits %+v, want %+v", test.name, got, test.limits)
		}
		if c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0 || c.NoAck || c.DenyPurge || c.DenyDelete {
			t.Errorf("%s: max_msgs %d, max_msgs_per_subject %d, no_ack %v, deny_purge %v, deny_delete %v",
				test.name, c.MaxMsgs, c.MaxMsgsPerSubject, c.NoAck, c.DenyPurge, c.DenyDelete)
		}
		if c.AllowMsgSchedules != test.schedules || c.AllowDirect != test.direct || c.AllowAtomicPublish != test.atomic {
			t.Errorf("%s: schedules %v, direct %v, atomic %v", test.name, c.AllowMsgSchedules, c.AllowDirect, c.AllowAtomicPublish)
		}
	}
	if _, err := f.js.KeyValue(t.Context(), "fanjet-state"); err != nil {
		t.Errorf("state bucket: %v", err)
	}
	if got := f.streamNames(); len(got) != 8 {
		t.Errorf("streams %v", got)
	}
}

func TestTopologyConsumers(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	for _, test := range []struct {
		stream, name, filter string
		ackWait              time.Duration
		pending              int
		policy               jetstream.PriorityPolicy
		groups               []string
		ttl                  time.Duration
	}{
		{"EVENTS", "fanjet-match", "", 2 * time.Second, 4096, jetstream.PriorityPolicyPinned, []string{"match"}, 3 * time.Second},
		{"FANJET_DELIVERIES", "fanjet-deliver", "fanjet.deliver.*", 10 * time.Second, 65536, jetstream.PriorityPolicyNone, nil, 0},
		{"FANJET_RETRIES", "fanjet-due", "fanjet.due.*", 10 * time.Second, 65536, jetstream.PriorityPolicyNone, nil, 0},
	} {
		consumer, err := f.js.Consumer(t.Context(), test.stream, test.name)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		c := consumer.CachedInfo().Config
		if c.DeliverPolicy != jetstream.DeliverAllPolicy || c.AckPolicy != jetstream.AckExplicitPolicy || c.MaxDeliver != -1 || len(c.BackOff) > 0 || c.InactiveThreshold != 0 {
			t.Errorf("%s: deliver %v, ack %v, max deliver %d, backoff %v, inactive %v", test.name, c.DeliverPolicy, c.AckPolicy, c.MaxDeliver, c.BackOff, c.InactiveThreshold)
		}
		if c.FilterSubject != test.filter || c.AckWait != test.ackWait || c.MaxAckPending != test.pending {
			t.Errorf("%s: filter %q, ack wait %v, max ack pending %d", test.name, c.FilterSubject, c.AckWait, c.MaxAckPending)
		}
		if c.PriorityPolicy != test.policy || !slices.Equal(c.PriorityGroups, test.groups) || c.PinnedTTL != test.ttl {
			t.Errorf("%s: priority %v, groups %v, ttl %v", test.name, c.PriorityPolicy, c.PriorityGroups, c.PinnedTTL)
		}
	}
	if MatchAckWait >= matchPinnedTTL {
		t.Error("a dead matcher's events would come after newer ones: its ack wait is not shorter than the pin")
	}
}

func TestTopologySecondTimeChangesNothing(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.config.Sources[0].MaxBytes = 1 << 30
	f.config.DeadLetters = config.DeadLetters{MaxAge: 5 * time.Minute, MaxBytes: 1 << 20}
	f.mustEnsure()
	if got := f.logs.FilterMessage("stream created").Len(); got != 7 {
		t.Errorf("%d streams were logged as created, want 7", got)
	}
	f.logs.TakeAll()
	f.mustEnsure()
	if all := f.logs.All(); len(all) > 0 {
		t.Errorf("the second time something was done: %v", all)
	}
	if err := Check(t.Context(), f.js, f.names, f.config); err != nil {
		t.Errorf("the check finds fault with what was just made: %v", err)
	}
}

func TestTopologyPrefixesShareNothing(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	before := f.streamNames()

	f.names = wire.NewNames("team-b")
	f.config.Sources = []config.Source{{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: false}} // the same source is fine
	f.mustEnsure()
	after := f.streamNames()
	if len(after) != len(before)+6 {
		t.Errorf("the second installation added to %v: %v", before, after)
	}
	for _, subject := range []string{f.names.DeliverSubject("e"), f.names.DueSubject("e"), f.names.LaneSubject("e"), f.names.DeadLetterSubject("e")} {
		ack, err := f.js.Publish(t.Context(), subject, nil)
		if err != nil {
			t.Errorf("%s: %v", subject, err)
		} else if !strings.HasPrefix(ack.Stream, "TEAM-B_") {
			t.Errorf("%s is stored in %s", subject, ack.Stream)
		}
	}
	if s, err := f.js.Stream(t.Context(), "EVENTS"); err != nil || s.CachedInfo().State.Consumers != 2 {
		t.Errorf("the source does not have both installations' consumers: %v", err)
	}
}

func TestTopologyReplicas(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.config.NATS.Replicas = 3
	for _, p := range PlanFor(f.names, f.config, 1<<20) {
		if p.Want.Replicas != 3 {
			t.Errorf("%s: replicas %d", p.Want.Name, p.Want.Replicas)
		}
		if p.bucket != nil && p.bucket.Replicas != 3 {
			t.Errorf("bucket %s: replicas %d", p.bucket.Bucket, p.bucket.Replicas)
		}
		if p.Consumer != nil && p.Consumer.Replicas != 0 {
			t.Errorf("consumer %s does not take the replicas of its stream", p.Consumer.Durable)
		}
	}
	wantRefusal(t, f.ensure(), "nats.replicas: 1", "not part of a cluster")
}

func TestTopologyMaxMsgSizeLeavesRoomForHeaders(t *testing.T) {
	t.Parallel()
	for payload, want := range map[int64]int32{
		1<<20 + 64<<10: 1<<20 + 32<<10, // the embedded server: a body of 1 MiB fits
		1 << 20:        1<<20 - 32<<10,
		8 << 20:        8<<20 - 32<<10,
		4 << 10:        2 << 10,
	} {
		if got := SourceStream(config.Source{}, 1, payload).MaxMsgSize; got != want {
			t.Errorf("max_payload %d: max_msg_size %d, want %d", payload, got, want)
		}
	}
}

func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	if !IsRefusal(err) {
		t.Errorf("error %v is no refusal", err)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\ndoes not contain %q", err, part)
		}
	}
}
