package topology

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// A consumer that somebody made by hand may report an ack floor below which
// nobody handled anything. Neither the start nor a purge trusts it.
func TestCheckConsumer(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(-time.Minute)
	for _, test := range []struct {
		name   string
		exists jetstream.ConsumerConfig
		want   []string // parts of the refusal; none: trusted
	}{
		{"ours", jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy}, nil},
		{"the filter as a list", jetstream.ConsumerConfig{FilterSubjects: []string{"fanjet.deliver.*"}, AckPolicy: jetstream.AckExplicitPolicy}, nil},
		{
			"DeliverNew",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverNewPolicy},
			[]string{`deliver_policy is "new", not "all"`, "nats consumer rm FANJET_DELIVERIES fanjet-deliver"},
		},
		{
			"DeliverLast",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverLastPolicy},
			[]string{`deliver_policy is "last"`},
		},
		{
			"from a sequence",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 5},
			[]string{`deliver_policy is "by_start_sequence"`},
		},
		{
			"from a time",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &later},
			[]string{`deliver_policy is "by_start_time"`},
		},
		{
			"no acks",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckNonePolicy},
			[]string{"ack_policy is AckNone, not AckExplicit"},
		},
		{
			"acks of all before",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckAllPolicy},
			[]string{"ack_policy is AckAll"},
		},
		{
			"no filter",
			jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy},
			[]string{"filter is [], not [fanjet.deliver.*]"},
		},
		{
			"one endpoint only",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.billing", AckPolicy: jetstream.AckExplicitPolicy},
			[]string{"filter is [fanjet.deliver.billing]"},
		},
		{
			"two endpoints only",
			jetstream.ConsumerConfig{FilterSubjects: []string{"fanjet.deliver.b", "fanjet.deliver.a"}, AckPolicy: jetstream.AckExplicitPolicy},
			[]string{"filter is [fanjet.deliver.a fanjet.deliver.b]"},
		},
		{
			"gives up",
			jetstream.ConsumerConfig{FilterSubject: "fanjet.deliver.*", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 5},
			[]string{"max_deliver is 5, not -1"},
		},
		{
			"several at once",
			jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, DeliverPolicy: jetstream.DeliverNewPolicy},
			[]string{"deliver_policy is", "ack_policy is", "filter is"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			f.create(DeliveriesStream(f.names, 1))
			test.exists.Durable = "fanjet-deliver"
			consumer, err := f.js.CreateConsumer(t.Context(), "FANJET_DELIVERIES", test.exists)
			if err != nil {
				t.Fatal(err)
			}
			before := consumer.CachedInfo().Created
			err = CheckConsumer(consumer.CachedInfo(), DeliverConsumer(f.names))
			ensured := f.ensure()
			if test.want == nil {
				if err != nil || ensured != nil {
					t.Errorf("refused: %v, %v", err, ensured)
				}
			} else {
				want := append(test.want, "consumer fanjet-deliver of the stream FANJET_DELIVERIES")
				wantRefusal(t, err, want...)
				wantRefusal(t, ensured, want...)
			}
			if consumer, err = f.js.Consumer(t.Context(), "FANJET_DELIVERIES", "fanjet-deliver"); err != nil {
				t.Fatal(err)
			}
			if !consumer.CachedInfo().Created.Equal(before) {
				t.Error("the consumer was made anew")
			}
		})
	}
}

// Why max_deliver is refused: the ack floor passes a message that was handed
// out so often and never acknowledged, and a purge would remove it.
func TestMaxDeliverMovesTheFloor(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newTopologyFixture(t)
	f.create(jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	consumer, err := f.js.CreateConsumer(ctx, "S", jetstream.ConsumerConfig{
		Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 1, AckWait: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func() jetstream.Msg {
		if _, err := f.js.Publish(ctx, "s", nil); err != nil {
			t.Fatal(err)
		}
		msg, err := consumer.Next(jetstream.FetchMaxWait(30 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	publish() // never acknowledged
	eventually(t, func() (struct{}, error) {
		if err := publish().DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
		info, err := consumer.Info(ctx)
		if err == nil && info.AckFloor.Stream == 0 {
			err = errors.New("the floor has not moved")
		}
		return struct{}{}, err
	})
}

func TestOpenConsumerRefusesWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		exists jetstream.ConsumerConfig
		want   string
	}{
		{"push", jetstream.ConsumerConfig{DeliverSubject: "deliver.to"}, "it is a push consumer"},
		{"replay at the original pace", jetstream.ConsumerConfig{ReplayPolicy: jetstream.ReplayOriginalPolicy}, "replay_policy is original, not instant"},
		{"state in memory", jetstream.ConsumerConfig{MemoryStorage: true}, "mem_storage is true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			stream, err := f.js.CreateStream(t.Context(), DeliveriesStream(f.names, 1))
			if err != nil {
				t.Fatal(err)
			}
			test.exists.Durable, test.exists.FilterSubject, test.exists.AckPolicy = "fanjet-deliver", "fanjet.deliver.*", jetstream.AckExplicitPolicy
			if test.exists.DeliverSubject != "" {
				_, err = stream.CreatePushConsumer(t.Context(), test.exists)
			} else {
				_, err = stream.CreateConsumer(t.Context(), test.exists)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = OpenConsumer(t.Context(), stream, DeliverConsumer(f.names))
			wantRefusal(t, err, test.want, "nats consumer rm")
		})
	}
}

// What can be changed without losing anything is set right; what an operator
// added stays.
func TestOpenConsumerRepairsDrift(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newTopologyFixture(t)
	stream, err := f.js.CreateStream(ctx, SourceStream(f.config.Sources[0], 1, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	if _, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "fanjet-match", AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true, AckWait: time.Minute, MaxAckPending: 10,
		BackOff: []time.Duration{time.Second, time.Minute}, InactiveThreshold: time.Hour, MaxRequestExpires: time.Second, MaxRequestMaxBytes: 100,
		Metadata: map[string]string{"owner": "team-a"}, PauseUntil: &until,
	}); err != nil {
		t.Fatal(err)
	}
	want := MatchConsumer(f.names)
	consumer, err := OpenConsumer(ctx, stream, want)
	if err != nil {
		t.Fatal(err)
	}
	c := consumer.CachedInfo().Config
	if Adjusted(c, want) != nil {
		t.Errorf("not everything was set right: %+v", c)
	}
	if c.HeadersOnly || c.AckWait != MatchAckWait || len(c.BackOff) > 0 || c.PriorityPolicy != jetstream.PriorityPolicyPinned || c.InactiveThreshold != 0 {
		t.Errorf("consumer: %+v", c)
	}
	if c.Metadata["owner"] != "team-a" || c.PauseUntil == nil || !c.PauseUntil.Equal(until) {
		t.Errorf("what an operator set is gone: metadata %v, pause %v", c.Metadata, c.PauseUntil)
	}

	// A pause is no reason not to start, but the gateway is not ready.
	f.mustEnsure()
	wantRefusal(t, Check(ctx, f.js, f.names, f.config), "fanjet-match", "is paused", "nats consumer resume EVENTS fanjet-match")
}

func TestOpenConsumerLimits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f := newTopologyFixture(t)
	f.create(jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxConsumers: 1})
	if _, err := f.js.CreateConsumer(ctx, "EVENTS", jetstream.ConsumerConfig{Durable: "other"}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, f.ensure(), "consumer fanjet-match of the stream EVENTS: the stream has as many consumers as it may have", "max_consumers")
	// Such a limit of a stream of our own is set right; see TestTopologyRemovesConsumerLimitsOfItsOwn.
	// One of the account is not ours to change.
	limited := newTopologyFixture(t)
	limited.server = natstest.Start(t, natstest.Options{Adjust: func(o *server.Options) {
		o.JetStreamLimits.MaxAckPending = 1000
	}})
	limited.js = limited.server.JetStream()
	wantRefusal(t, limited.ensure(), "consumer fanjet-match of the stream EVENTS: max_ack_pending 4096 is more than is allowed",
		"consumer fanjet-deliver of the stream FANJET_DELIVERIES: max_ack_pending 65536 is more than is allowed")
}
