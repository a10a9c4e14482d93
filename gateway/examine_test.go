package gateway

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
)

// findings by object; the worst of each.
func worst(found []Finding) map[string]Finding {
	order := []Level{LevelOK, LevelWarning, LevelProblem}
	out := make(map[string]Finding)
	for _, f := range found {
		if before, ok := out[f.Object]; !ok || slices.Index(order, f.Level) > slices.Index(order, before.Level) {
			out[f.Object] = f
		}
	}
	return out
}

// streamConfigs are those of all streams.
func (w *world) streamConfigs() map[string]jetstream.StreamConfig {
	w.Helper()
	configs := make(map[string]jetstream.StreamConfig)
	list := w.js.ListStreams(w.Context())
	for info := range list.Info() {
		configs[info.Config.Name] = info.Config
	}
	if err := list.Err(); err != nil {
		w.Fatal(err)
	}
	return configs
}

func TestExamine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, f := range Examine(t.Context(), w.js, w.cfg, nil) {
		if f.Level != LevelWarning || !strings.Contains(f.What, "does not exist yet") {
			t.Errorf("before the first start: %+v", f)
		}
	}
	if n := len(w.streamConfigs()); n > 0 {
		t.Errorf("it made %d streams", n)
	}

	w.start()
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	found := Examine(t.Context(), w.js, w.cfg, nil)
	for _, f := range found {
		if f.Level != LevelOK {
			t.Errorf("while all is well: %+v", f)
		}
	}
	if n := len(worst(found)); n != 10 {
		t.Errorf("%d streams and consumers were looked at, want 7 and 3: %+v", n, found)
	}
	w.stop()

	// Somebody has changed things.
	change := func(name string, edit func(*jetstream.StreamConfig)) {
		t.Helper()
		c := w.streamConfigs()[name]
		edit(&c)
		if _, err := w.js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	names := w.gw.names
	change(names.DeliveriesStream(), func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 })
	change(names.DeadLettersStream(), func(c *jetstream.StreamConfig) { c.AllowDirect = false })
	consumer, err := w.js.Consumer(t.Context(), names.RetriesStream(), names.DueConsumer())
	if err != nil {
		t.Fatal(err)
	}
	due := consumer.CachedInfo().Config
	due.MaxAckPending = 5
	if _, err := w.js.UpdateConsumer(t.Context(), names.RetriesStream(), due); err != nil {
		t.Fatal(err)
	}
	if err := w.js.DeleteConsumer(t.Context(), "EVENTS", names.MatchConsumer()); err != nil {
		t.Fatal(err)
	}
	w.cfg.Sources[0].MaxBytes = 1 << 30
	before := w.streamConfigs()
	got := worst(Examine(t.Context(), w.js, w.cfg, nil))
	for object, want := range map[string]Finding{
		"stream " + names.DeliveriesStream():                                {Level: LevelProblem, What: "max_msgs is 1000", Fix: "nats stream edit"},
		"stream " + names.DeadLettersStream():                               {Level: LevelWarning, What: "allow_direct: false → true"},
		"stream EVENTS":                                                     {Level: LevelWarning, What: "max_bytes: -1 → 1073741824"},
		"stream " + names.LanesStream():                                     {Level: LevelOK},
		topology.ConsumerObject(names.RetriesStream(), names.DueConsumer()): {Level: LevelWarning, What: "differs from what Fanjet wants"},
		topology.ConsumerObject("EVENTS", names.MatchConsumer()):            {Level: LevelWarning, What: "does not exist yet"},
	} {
		f := got[object]
		if f.Level != want.Level || !strings.Contains(f.What, want.What) || !strings.Contains(f.Fix, want.Fix) {
			t.Errorf("%s: %+v, want %+v", object, f, want)
		}
	}
	if !reflect.DeepEqual(before, w.streamConfigs()) {
		t.Error("it changed streams")
	}
}
