package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"fanjet/config"
	"fanjet/gateway/topology"
	"fanjet/internal/broker"
	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// A stream without room for our consumer is refused before anything is touched;
// one that has ours may be full.
func TestTopologyNoRoomForConsumer(t *testing.T) {
	t.Parallel()
	f := newBareServer(t)
	f.create(jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events.>"}, MaxConsumers: 1})
	f.config.Sources = []config.Source{{Stream: "EVENTS"}}
	stream, err := f.js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "other"}); err != nil {
		t.Fatal(err)
	}
	err = f.ensure()
	if !topology.IsRefusal(err) {
		t.Fatalf("%v is no refusal", err)
	}
	for _, want := range []string{"consumer fanjet-match of the stream EVENTS: the stream has as many consumers as it may have: max_consumers is 1", "nats consumer ls EVENTS"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if found := worst(Examine(t.Context(), f.js, f.config, nil))["consumer fanjet-match of the stream EVENTS"]; found.Level != LevelProblem {
		t.Errorf("doctor says %+v", found)
	}
	if err := stream.DeleteConsumer(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	f.mustEnsure()
	f.mustEnsure()
}

// A source of somebody else that can be used, but not without a risk, gets a
// warning, from `serve` as from `doctor`, and works.
func TestTopologyAdvises(t *testing.T) {
	t.Parallel()
	limits := func(l jetstream.StreamConsumerLimits) jetstream.StreamConfig {
		return jetstream.StreamConfig{ConsumerLimits: l}
	}
	for name, test := range map[string]struct {
		source jetstream.StreamConfig
		want   []string // what the warning says; none: there is none
	}{
		"on disk": {jetstream.StreamConfig{}, nil},
		"in memory": {
			jetstream.StreamConfig{Storage: jetstream.MemoryStorage},
			[]string{"storage is memory", "a restart of its server loses"},
		},
		"idle consumers go": {
			limits(jetstream.StreamConsumerLimits{InactiveThreshold: time.Hour}),
			[]string{"removes consumers", "for 1h", "inactive_threshold"},
		},
		"few in work": {
			limits(jetstream.StreamConsumerLimits{MaxAckPending: 100}),
			[]string{"100 messages in work", "max_ack_pending"},
		},
		"enough in work":                  {limits(jetstream.StreamConsumerLimits{MaxAckPending: topology.MatchWindow}), nil},
		"an aggregate":                    {jetstream.StreamConfig{Sources: from("ORIGIN")}, nil},
		"an aggregate that drops":         {jetstream.StreamConfig{Sources: from("ORIGIN"), Duplicates: time.Minute}, []string{"duplicates window of its own, 1m", "drops the second", "duplicate_window to 0"}},
		"a window, but no other streams":  {jetstream.StreamConfig{Duplicates: time.Minute}, nil},
		"a mirror, which drops no second": {jetstream.StreamConfig{Mirror: from("ORIGIN")[0]}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newBareServer(t)
			f.create(jetstream.StreamConfig{Name: "ORIGIN", Subjects: []string{"origin.>"}})
			test.source.Name = "EVENTS"
			if test.source.Mirror == nil {
				test.source.Subjects = []string{"events.>"}
			}
			f.create(test.source)
			f.config.Sources = []config.Source{{Stream: "EVENTS"}}
			before := f.stream("EVENTS").Config
			f.mustEnsure()
			logged := f.logs.FilterMessage("a source can be used, but not without a risk").All()
			var warned []Finding
			for _, finding := range Examine(t.Context(), f.js, f.config, nil) {
				if finding.Level != LevelOK {
					warned = append(warned, finding)
				}
			}
			if test.want == nil {
				if len(logged) > 0 || len(warned) > 0 {
					t.Fatalf("warnings: %v, %v", logged, warned)
				}
				return
			}
			if len(logged) != 1 || len(warned) != 1 || warned[0].Level != LevelWarning || warned[0].Object != "stream EVENTS" {
				t.Fatalf("warnings: %v, %v; want one each", logged, warned)
			}
			for _, want := range test.want {
				if text := logged[0].ContextMap()["finding"].(string) + logged[0].ContextMap()["fix"].(string); !strings.Contains(text, want) {
					t.Errorf("the log says %q, which lacks %q", text, want)
				}
				if text := warned[0].What + warned[0].Fix; !strings.Contains(text, want) {
					t.Errorf("doctor says %q, which lacks %q", text, want)
				}
			}
			if after := f.stream("EVENTS").Config; after.ConsumerLimits != before.ConsumerLimits || after.Duplicates != before.Duplicates {
				t.Errorf("the stream of somebody else was changed: %+v", after)
			}
			f.logs.TakeAll()
			f.mustEnsure()
			if changed := f.logs.FilterMessageSnippet("changed").Len(); changed > 0 {
				t.Errorf("the second time something was changed: %v", f.logs.All())
			}
		})
	}
}

// bareServer is a NATS server, and an installation that runs no gateway on it.
type bareServer struct {
	*testing.T
	js     jetstream.JetStream
	config *config.Config
	logs   *observer.ObservedLogs
	log    *zap.Logger
}

func newBareServer(t *testing.T) *bareServer {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	return &bareServer{
		T: t, js: natstest.Start(t, natstest.Options{}).JetStream(), logs: logs, log: zap.New(core),
		config: &config.Config{
			NATS: broker.Settings{Replicas: 1},
			Sources: []config.Source{
				{Stream: "EVENTS", Subjects: []string{"events.>"}, Create: true, MaxAge: 168 * time.Hour},
			},
		},
	}
}

func (f *bareServer) ensure() error {
	return topology.Ensure(f.Context(), f.js, wire.NewNames(""), f.config, f.log)
}

func (f *bareServer) mustEnsure() {
	f.Helper()
	if err := f.ensure(); err != nil {
		f.Fatal(err)
	}
}

func (f *bareServer) stream(name string) *jetstream.StreamInfo {
	f.Helper()
	s, err := f.js.Stream(f.Context(), name)
	if err != nil {
		f.Fatalf("stream %s: %v", name, err)
	}
	return s.CachedInfo()
}

func (f *bareServer) create(config jetstream.StreamConfig) {
	f.Helper()
	if _, err := f.js.CreateStream(f.Context(), config); err != nil {
		f.Fatalf("create %s: %v", config.Name, err)
	}
}
