package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestTopologyAudit(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	c := f.stream("FANJET_AUDIT").Config
	if c.MaxAge != 90*24*time.Hour || c.MaxBytes != 64<<20 || c.Discard != jetstream.DiscardOld || c.Retention != jetstream.LimitsPolicy ||
		c.Storage != jetstream.FileStorage || !c.AllowDirect || strings.Join(c.Subjects, " ") != "fanjet.audit.*.*" {
		t.Errorf("FANJET_AUDIT is %+v", c)
	}
	// Nobody takes a record out of it.
	s, err := f.js.Stream(t.Context(), "FANJET_AUDIT")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.js.Publish(t.Context(), "fanjet.audit.cli.pause", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a record was deleted")
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("the records were purged")
	}
}

// Whoever must keep records for longer sets the limits of the stream.
func TestTopologyAuditKeepsLimits(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	c := f.stream("FANJET_AUDIT").Config
	c.MaxAge, c.MaxBytes, c.AllowDirect = 365*24*time.Hour, 1<<30, false
	if _, err := f.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.mustEnsure()
	if c := f.stream("FANJET_AUDIT").Config; c.MaxAge != 365*24*time.Hour || c.MaxBytes != 1<<30 || !c.AllowDirect {
		t.Errorf("FANJET_AUDIT is %+v", c)
	}
}

// Deliveries do not wait for somebody to mend the record.
func TestTopologyAuditStopsNothing(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.create(jetstream.StreamConfig{Name: "FANJET_AUDIT", Subjects: []string{"fanjet.audit.*.*"}, Storage: jetstream.MemoryStorage})
	f.mustEnsure()
	if got := f.logs.FilterMessage("what operators do cannot be recorded").All(); len(got) != 1 || !strings.Contains(got[0].ContextMap()["error"].(string), "storage is memory") {
		t.Errorf("logged %v", got)
	}
	if err := Check(t.Context(), f.js, f.names, f.config); err != nil {
		t.Errorf("the gateway is not ready: %v", err)
	}
	if c := f.stream("FANJET_DLQ").Config; c.Name == "" {
		t.Error("the other streams were not made")
	}
}
