package topology

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
)

// What would lose events is refused, with the field, its value and a remedy,
// and nothing is touched.
func TestTopologyRefusesOwnStreams(t *testing.T) {
	t.Parallel()
	deliveries := func(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
		c := jetstream.StreamConfig{Name: "FANJET_DELIVERIES", Subjects: []string{"fanjet.deliver.*"}, Discard: jetstream.DiscardNew, AllowAtomicPublish: true}
		change(&c)
		return c
	}
	retries := func(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
		c := jetstream.StreamConfig{
			Name: "FANJET_RETRIES", Subjects: []string{"fanjet.retry.*.*", "fanjet.due.*"}, Retention: jetstream.WorkQueuePolicy,
			AllowAtomicPublish: true, AllowMsgSchedules: true,
		}
		change(&c)
		return c
	}
	letters := func(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
		c := jetstream.StreamConfig{Name: "FANJET_DLQ", Subjects: []string{"fanjet.dlq.*"}, Discard: jetstream.DiscardNew}
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		exists jetstream.StreamConfig
		want   []string
	}{
		{
			"retention", deliveries(func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }),
			[]string{"stream FANJET_DELIVERIES", `retention is "workqueue", not "limits"`, "nats stream rm FANJET_DELIVERIES"},
		},
		{
			"retention of retries", retries(func(c *jetstream.StreamConfig) { c.Retention = jetstream.LimitsPolicy }),
			[]string{"stream FANJET_RETRIES", `retention is "limits", not "workqueue"`},
		},
		{
			"storage", deliveries(func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }),
			[]string{"storage is memory"},
		},
		{
			"max_age", deliveries(func(c *jetstream.StreamConfig) { c.MaxAge = 36 * time.Hour }),
			[]string{"max_age is 36h", "nats stream edit FANJET_DELIVERIES --max-age=-1"},
		},
		{
			"max_age of retries", retries(func(c *jetstream.StreamConfig) { c.MaxAge = 90 * time.Minute }),
			[]string{"max_age is 1h30m", "nats stream edit FANJET_RETRIES --max-age=-1"},
		},
		{
			"max_bytes", deliveries(func(c *jetstream.StreamConfig) { c.MaxBytes = 1000 }),
			[]string{"max_bytes is 1000", "--max-bytes=-1"},
		},
		{
			"max_msgs", retries(func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 }),
			[]string{"max_msgs is 7", "--max-msgs=-1"},
		},
		{
			"max_msgs of letters", letters(func(c *jetstream.StreamConfig) { c.MaxMsgs = 7 }),
			[]string{"stream FANJET_DLQ", "max_msgs is 7", "--max-msgs=-1"},
		},
		{
			"max_msgs_per_subject", letters(func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }),
			[]string{"max_msgs_per_subject is 5", "--max-msgs-per-subject=-1"},
		},
		{
			"max_msg_size", deliveries(func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1024 }),
			[]string{"max_msg_size is 1024", "--max-msg-size=-1"},
		},
		{
			"subjects", deliveries(func(c *jetstream.StreamConfig) { c.Subjects = []string{"fanjet.deliver.a"} }),
			[]string{"subjects are fanjet.deliver.a", "--subjects 'fanjet.deliver.*'"},
		},
		{
			"more subjects", letters(func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "orders") }),
			[]string{"subjects are fanjet.dlq.*, orders"},
		},
		{
			"no_ack", retries(func(c *jetstream.StreamConfig) { c.NoAck = true }),
			[]string{"no_ack is true", "nats stream edit FANJET_RETRIES --ack"},
		},
		{
			"deny_purge", deliveries(func(c *jetstream.StreamConfig) { c.DenyPurge = true }),
			[]string{"deny_purge is true"},
		},
		{
			"deny_delete", letters(func(c *jetstream.StreamConfig) { c.DenyDelete = true }),
			[]string{"deny_delete is true"},
		},
		{
			"counter", letters(func(c *jetstream.StreamConfig) { c.AllowMsgCounter, c.Discard = true, jetstream.DiscardOld }),
			[]string{"allow_msg_counter is true"},
		},
		{
			"persist_mode", letters(func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }),
			[]string{"persist_mode is async"},
		},
		{"subject_transform", letters(func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "fanjet.dlq.*", Destination: "other.{{wildcard(1)}}"}
		}), []string{"subject_transform is set"}},
		{
			"sources", letters(func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "OTHER"}} }),
			[]string{"filled from another stream"},
		},
		{"expiring state", jetstream.StreamConfig{
			Name: "KV_fanjet-state", Subjects: []string{"$KV.fanjet-state.>"}, MaxMsgsPerSubject: 1, MaxAge: time.Hour, AllowRollup: true, Discard: jetstream.DiscardNew,
		}, []string{"stream KV_fanjet-state", "max_age is 1h"}},
		{
			"subject overlap",
			jetstream.StreamConfig{Name: "ALL", Subjects: []string{"fanjet.>"}},
			[]string{"stream FANJET_DELIVERIES", "overlap those of the stream ALL", "nats.prefix"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			f.create(test.exists)
			before := f.stream(test.exists.Name).Config
			wantRefusal(t, f.ensure(), test.want...)
			if test.exists.Name == "ALL" {
				return // found when the stream is created, after others
			}
			if got := f.stream(test.exists.Name).Config; !reflect.DeepEqual(got, before) {
				t.Errorf("the refused stream was changed: %+v, was %+v", got, before)
			}
			if got := f.streamNames(); len(got) != 1 {
				t.Errorf("streams were created beside the refused one: %v", got)
			}
		})
	}
}

func TestTopologyRefusesSealed(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	sealed := f.stream("FANJET_DLQ").Config
	sealed.Sealed = true
	if _, err := f.js.UpdateStream(t.Context(), sealed); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, f.ensure(), "stream FANJET_DLQ", "sealed is true")
	wantRefusal(t, Check(t.Context(), f.js, f.names, f.config), "sealed is true")
}

// Every problem is reported at once.
func TestTopologyRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.config.Sources = append(f.config.Sources, config.Source{Stream: "MISSING"}, config.Source{Stream: "FANJET_DLQ", Create: true, Subjects: []string{"fanjet.dlq.*"}})
	f.create(jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxMsgs: 10, NoAck: true})
	f.create(jetstream.StreamConfig{Name: "FANJET_DELIVERIES", Subjects: []string{"fanjet.deliver.*"}, MaxAge: time.Hour, MaxBytes: 5})
	wantRefusal(t, f.ensure(),
		`stream EVENTS: discard is "old" and max_msgs is 10`, "stream EVENTS: no_ack is true",
		"source MISSING: there is no such stream", "create: true",
		"source FANJET_DLQ: it is one of Fanjet's own streams",
		"stream FANJET_DELIVERIES: max_age is 1h", "stream FANJET_DELIVERIES: max_bytes is 5")
}

func TestTopologyForeignSource(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		exists jetstream.StreamConfig
		want   []string // parts of the refusal; none: accepted as it is
	}{
		{"limits without discarding", jetstream.StreamConfig{Discard: jetstream.DiscardNew, MaxMsgs: 10, MaxBytes: 10_000}, nil},
		{"age only", jetstream.StreamConfig{MaxAge: time.Minute}, nil},
		{"no limits", jetstream.StreamConfig{}, nil},
		{"in memory", jetstream.StreamConfig{Storage: jetstream.MemoryStorage}, nil},
		{"denies everything", jetstream.StreamConfig{DenyDelete: true, DenyPurge: true}, nil},
		{"refuses new ones of a subject", jetstream.StreamConfig{Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 3}, nil},
		{
			"discard old, max_msgs",
			jetstream.StreamConfig{MaxMsgs: 10},
			[]string{`discard is "old" and max_msgs is 10`, "nats stream edit ORDERS --discard new"},
		},
		{
			"discard old, max_bytes",
			jetstream.StreamConfig{MaxBytes: 10_000},
			[]string{`discard is "old" and max_bytes is 10000`},
		},
		{
			"discard old, per subject",
			jetstream.StreamConfig{MaxMsgsPerSubject: 3},
			[]string{"max_msgs_per_subject is 3 without discard_new_per_subject"},
		},
		{
			"discard new, per subject",
			jetstream.StreamConfig{Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 3},
			[]string{"max_msgs_per_subject is 3 without discard_new_per_subject", "--max-msgs-per-subject=-1"},
		},
		{"no acks", jetstream.StreamConfig{NoAck: true}, []string{"no_ack is true", "--ack"}},
		{"work queue", jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, []string{`retention is "workqueue"`, "removed for everybody"}},
		{"interest", jetstream.StreamConfig{Retention: jetstream.InterestPolicy}, []string{`retention is "interest"`, "accepted and dropped"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			test.exists.Name, test.exists.Subjects = "ORDERS", []string{"orders.>"}
			f.create(test.exists)
			before := f.stream("ORDERS").Config
			f.config.Sources = []config.Source{{Stream: "ORDERS"}}
			err := f.ensure()
			if test.want == nil && err != nil {
				t.Error(err)
			} else if test.want != nil {
				wantRefusal(t, err, append(test.want, "stream ORDERS")...)
			}
			if got := f.stream("ORDERS").Config; !reflect.DeepEqual(got, before) {
				t.Errorf("somebody else's stream was changed: %+v, was %+v", got, before)
			}
		})
	}
}

// Why max_msgs_per_subject is refused with either discard policy: JetStream
// acknowledges the new event and removes the oldest one.
func TestDiscardNewStillDropsPerSubject(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.create(jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1})
	for range 2 {
		if _, err := f.js.Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.stream("S").State; got.Msgs != 1 || got.FirstSeq != 2 {
		t.Errorf("state %+v: the server has changed, the refusal can go", got)
	}
}

func TestTopologyOwnSource(t *testing.T) {
	t.Parallel()
	events := func(change func(*jetstream.StreamConfig)) jetstream.StreamConfig {
		c := jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxAge: 168 * time.Hour, Discard: jetstream.DiscardNew}
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		exists jetstream.StreamConfig
		source config.Source
		want   []string
	}{
		{
			"memory", events(func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }),
			config.Source{},
			[]string{"storage is memory", "create: false"},
		},
		{
			"mirror",
			jetstream.StreamConfig{Name: "EVENTS", Mirror: &jetstream.StreamSource{Name: "OTHER"}},
			config.Source{},
			[]string{"filled from another stream", "create: false"},
		},
		{
			"discard old with max_bytes", events(func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 10_000 }),
			config.Source{},
			[]string{`discard is "old" and max_bytes is 10000`},
		},
		{
			"more subjects", events(func(c *jetstream.StreamConfig) { c.Subjects = []string{"events.>", "orders.*"} }),
			config.Source{},
			[]string{"it takes orders.* too", "add them to the subjects", "--subjects 'events.>'"},
		},
		{
			"subjects of another",
			jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"events.orders.*"}},
			config.Source{},
			[]string{"stream EVENTS", "overlap those of the stream OTHER", "create: false"},
		},
		{
			"larger than the disk", events(func(*jetstream.StreamConfig) {}),
			config.Source{MaxBytes: 1 << 60},
			[]string{"stream EVENTS", "there is no room for it", "lower max_bytes"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			f.create(test.exists)
			f.config.Sources[0].MaxBytes = test.source.MaxBytes
			wantRefusal(t, f.ensure(), test.want...)
		})
	}
}

// A shorter max_age must not remove events that no matcher has handled.
func TestTopologyShorterAge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newTopologyFixture(t)
	f.mustEnsure()
	// It looks like the word of NATS that there is no message.
	if _, err := f.js.PublishMsg(ctx, &nats.Msg{Subject: "events.a", Header: nats.Header{"Status": {"404"}}}); err != nil {
		t.Fatal(err)
	}
	const shorter = 100 * time.Millisecond
	eventually(t, func() (struct{}, error) {
		info := f.stream("EVENTS")
		if age := info.TimeStamp.Sub(info.State.LastTime); age <= shorter {
			return struct{}{}, fmt.Errorf("the event is only %v old", age)
		}
		return struct{}{}, nil
	})
	f.config.Sources[0].MaxAge = shorter
	wantRefusal(t, f.ensure(), "max_age cannot go from 168h to 100ms yet", "still waits to be matched", "--max-age=100ms")
	if got := f.stream("EVENTS").Config.MaxAge; got != 168*time.Hour {
		t.Errorf("max_age is %v", got)
	}

	// Once the events are handled the limit may go down. nats.go does not hand out
	// the first one.
	stream, err := f.js.Stream(ctx, "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.js.Publish(ctx, "events.a", nil); err != nil {
		t.Fatal(err)
	}
	consumer, err := f.js.Consumer(ctx, "EVENTS", "fanjet-match")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(1, jetstream.FetchPriorityGroup(MatchGroup))
	if err != nil {
		t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if err := msg.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	f.mustEnsure()
	if got := f.stream("EVENTS").Config.MaxAge; got != shorter {
		t.Errorf("max_age is %v", got)
	}
}

// Faults of the connection pass by themselves: no refusal.
func TestTopologyOutage(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	js, err := jetstream.New(f.server.Connect(nats.ReconnectBufSize(-1)), jetstream.WithDefaultTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	f.js = js
	f.server.Stop()
	if err := f.ensure(); err == nil || IsRefusal(err) {
		t.Errorf("error %v is nil or a refusal", err)
	}
	f.server.Resume()
	eventually(t, func() (struct{}, error) { return struct{}{}, f.ensure() })
}
