package topology

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/config"
)

// What loses nothing is set right, and the rest of the stream stays as it is.
func TestTopologyRepairsDrift(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.config.Sources[0].MaxBytes = 1 << 20
	f.config.DeadLetters = config.DeadLetters{MaxAge: time.Hour, MaxBytes: 1 << 20}
	kept := map[string]string{"owner": "team-a"}
	f.create(jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"events.orders", "events.users.*"}, Metadata: kept, Compression: jetstream.S2Compression,
		MaxAge: time.Hour, Duplicates: 30 * time.Minute, MaxMsgs: 1000, Discard: jetstream.DiscardNew, MaxMsgSize: 2000,
	})
	f.create(jetstream.StreamConfig{Name: "FANJET_DELIVERIES", Subjects: []string{"fanjet.deliver.*"}, Metadata: kept, Duplicates: time.Second})
	f.create(jetstream.StreamConfig{Name: "FANJET_RETRIES", Subjects: []string{"fanjet.due.*", "fanjet.retry.*.*"}, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, Duplicates: 10 * time.Minute})
	f.create(jetstream.StreamConfig{Name: "FANJET_DLQ", Subjects: []string{"fanjet.dlq.*"}, MaxAge: 5 * time.Minute, MaxBytes: 1 << 10})
	f.mustEnsure()

	c := f.stream("EVENTS").Config
	if !slices.Equal(c.Subjects, []string{"events.>"}) || c.MaxAge != 168*time.Hour || c.MaxBytes != 1<<20 || !c.AllowAtomicPublish || !c.AllowDirect {
		t.Errorf("EVENTS is not as configured: %+v", c)
	}
	if c.Metadata["owner"] != "team-a" || c.Compression != jetstream.S2Compression || c.Duplicates != 30*time.Minute || c.MaxMsgs != 1000 || c.MaxMsgSize != 2000 {
		t.Errorf("EVENTS lost what its owner set: %+v", c)
	}
	c = f.stream("FANJET_DELIVERIES").Config
	if c.Duplicates != 2*time.Minute || c.Discard != jetstream.DiscardNew || !c.AllowAtomicPublish || c.Metadata["owner"] != "team-a" {
		t.Errorf("FANJET_DELIVERIES: %+v", c)
	}
	c = f.stream("FANJET_RETRIES").Config
	if !c.AllowMsgSchedules || !c.AllowAtomicPublish || !c.AllowRollup || c.Discard != jetstream.DiscardOld || c.Duplicates != 2*time.Minute {
		t.Errorf("FANJET_RETRIES: %+v", c)
	}
	c = f.stream("FANJET_DLQ").Config
	if c.MaxAge != time.Hour || c.MaxBytes != 1<<20 || c.Discard != jetstream.DiscardNew || c.Duplicates != 10*time.Minute || !c.AllowDirect {
		t.Errorf("FANJET_DLQ: %+v", c)
	}

	// The log says what was changed.
	if got := f.logs.FilterMessage("stream changed").Len(); got != 4 {
		t.Errorf("%d changes were logged, want 4: %v", got, f.logs.All())
	}
	f.logs.TakeAll()
	f.mustEnsure()
	if all := f.logs.All(); len(all) > 0 {
		t.Errorf("the second time something was changed: %v", all)
	}
}

// Limits of the dead letters follow the configuration, also back to none.
func TestTopologyDeadLetterLimits(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	for _, limits := range []config.DeadLetters{{MaxAge: time.Minute}, {MaxAge: time.Hour, MaxBytes: 5000}, {}} {
		f.config.DeadLetters = limits
		f.mustEnsure()
		c := f.stream("FANJET_DLQ").Config
		if c.MaxAge != limits.MaxAge || c.MaxBytes != unlimited(limits.MaxBytes) {
			t.Errorf("limits are %v and %d, want %+v", c.MaxAge, c.MaxBytes, limits)
		}
	}
}

func TestTopologyNeverRecreates(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	if err := f.js.DeleteStream(t.Context(), "FANJET_DLQ"); err != nil {
		t.Fatal(err)
	}
	err := Check(t.Context(), f.js, f.names, f.config)
	if err == nil || !strings.Contains(err.Error(), "stream FANJET_DLQ") {
		t.Errorf("the check does not notice that a stream is gone: %v", err)
	}
	if slices.Contains(f.streamNames(), "FANJET_DLQ") {
		t.Error("the check made a stream")
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wide, narrow string
		want         bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a.b", "a", false},
		{"a", "a.b", false},
		{"*", "a", true},
		{"*", "*", true},
		{"a", "*", false},
		{"*", ">", false},
		{">", "a.b.c", true},
		{">", ">", true},
		{"a.>", "a.b.*", true},
		{"a.>", "a.>", true},
		{"a.>", "a", false},
		{"a.*", "a.>", false},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.*.*", false},
		{"a.*.>", "a.>", false},
		{"a.b.>", "a.*.c", false},
	} {
		if got := covers(test.wide, test.narrow); got != test.want {
			t.Errorf("covers(%q, %q) = %v", test.wide, test.narrow, got)
		}
	}
}

func TestPeriod(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "1s", time.Minute: "1m", 90 * time.Second: "1m30s", 168 * time.Hour: "168h", 90 * time.Minute: "1h30m",
		100 * time.Millisecond: "100ms", 20 * time.Hour: "20h", 10 * time.Minute: "10m",
	} {
		if got := period(d); got != want {
			t.Errorf("period(%d) = %q, want %q", d, got, want)
		}
	}
}
