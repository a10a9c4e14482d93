package gateway

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fanjet/config"
	"fanjet/internal/wire"
)

// mark sets the version of what a stream holds; empty: it has none.
func (f *topologyFixture) mark(stream, version string) {
	f.t.Helper()
	c := f.stream(stream).Config
	c.Metadata = maps.Clone(c.Metadata)
	delete(c.Metadata, "fanjet.version")
	if version != "" {
		c.Metadata["fanjet.version"] = version
	}
	if _, err := f.js.UpdateStream(f.t.Context(), c); err != nil {
		f.t.Fatal(err)
	}
}

var ownStreams = []string{"FANJET_DELIVERIES", "FANJET_RETRIES", "FANJET_LANES", "FANJET_DLQ", "KV_fanjet-state", "FANJET_AUDIT"}

// Our own streams say which version they hold; those that were there before there were
// numbers are not touched, and a source holds nothing of ours.
func TestTopologyStoredVersion(t *testing.T) {
	t.Parallel()
	f := newTopologyFixture(t)
	f.mustEnsure()
	for _, name := range ownStreams {
		if got := f.stream(name).Config.Metadata["fanjet.version"]; got != "1" {
			t.Errorf("%s has the version %q", name, got)
		}
		f.mark(name, "")
	}
	f.mark("EVENTS", "99")
	f.logs.TakeAll()
	f.mustEnsure()
	if all := f.logs.All(); len(all) > 0 {
		t.Errorf("streams without a version were changed: %v", all)
	}
	if err := checkTopology(t.Context(), f.js, f.names, f.config); err != nil {
		t.Error(err)
	}
}

// What a newer Fanjet stored is refused in one sentence, and nothing is changed, be it
// that of one stream or of all, and whatever else is wrong.
func TestTopologyRefusesNewerVersion(t *testing.T) {
	t.Parallel()
	for _, marked := range [][]string{{"FANJET_DELIVERIES"}, {"FANJET_RETRIES"}, {"FANJET_LANES"}, {"FANJET_DLQ"}, {"KV_fanjet-state"}, ownStreams} {
		t.Run(strings.Join(marked, " "), func(t *testing.T) {
			t.Parallel()
			f := newTopologyFixture(t)
			f.mustEnsure()
			for _, name := range marked {
				f.mark(name, "2")
			}
			f.config.Sources = append(f.config.Sources,
				config.Source{Stream: "MORE", Subjects: []string{"more.>"}, Create: true}, config.Source{Stream: "MISSING"})
			f.config.DeadLetters.MaxAge = time.Hour
			err := f.ensure()
			if newer, ok := errors.AsType[*wire.NewerError](err); !ok || !isRefusal(err) || newer.Version != "2" {
				t.Fatalf("%v", err)
			}
			for _, text := range marked {
				if text != "FANJET_AUDIT" && !strings.Contains(err.Error(), text) {
					t.Errorf("%s is not named: %v", text, err)
				}
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "MISSING") {
				t.Errorf("more than one sentence: %v", err)
			}
			if names := f.streamNames(); len(names) != 7 || f.stream("FANJET_DLQ").Config.MaxAge != 0 {
				t.Errorf("something was changed: %v", names)
			}
			if now := checkTopology(t.Context(), f.js, f.names, f.config); now == nil || now.Error() != err.Error() {
				t.Errorf("a gateway that runs says %v", now)
			}
			var found []Finding
			for _, finding := range Examine(t.Context(), f.js, f.config, nil) {
				if strings.Contains(finding.What, "a newer Fanjet stored version 2") && finding.Level == LevelProblem && finding.Fix != "" {
					found = append(found, finding)
				}
			}
			if len(found) != len(marked) {
				t.Errorf("doctor finds %v", found)
			}
		})
	}
}

// A newer Fanjet raises the number before it stores anything, and keeps what else
// is there. Nobody lowers it.
func TestTopologyRaisesVersion(t *testing.T) {
	t.Parallel()
	names := wire.NewNames("")
	for name, test := range map[string]struct {
		have map[string]string
		want string
	}{
		"without a number": {map[string]string{"owner": "ann"}, "version of what is stored: 1 → 2"},
		"without anything": {nil, "version of what is stored: 1 → 2"},
		"older":            {map[string]string{"owner": "ann", "fanjet.version": "1"}, "version of what is stored: 1 → 2"},
		"equal":            {wire.StoredMetadata(2), ""},
		"newer":            {wire.StoredMetadata(3), ""},
	} {
		for kind, compare := range map[string]func(have, want jetstream.StreamConfig) *review{
			"own":   func(have, want jetstream.StreamConfig) *review { return reviewOwn(have, want, false) },
			"audit": reviewAudit,
		} {
			have, want := deliveriesConfig(names, 1), deliveriesConfig(names, 1)
			if kind == "audit" {
				have, want = auditConfig(names, 1), auditConfig(names, 1)
			}
			have.Metadata, want.Metadata = test.have, wire.StoredMetadata(2)
			r := compare(have, want)
			if got := strings.Join(r.changes, "; "); got != test.want || r.err() != nil {
				t.Errorf("%s, %s: changes %q, %v", kind, name, got, r.err())
			}
			if r.next.Metadata["owner"] != test.have["owner"] || wire.StoredVersion(r.next.Metadata) < 2 {
				t.Errorf("%s, %s: metadata %v", kind, name, r.next.Metadata)
			}
			if test.have["owner"] != "" && test.have["fanjet.version"] == "2" {
				t.Error("what was read was changed")
			}
		}
	}
}

// A gateway does not start on what a newer one stored, and takes nothing from it.
func TestGatewayRefusesNewerVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.stop()
	stream, err := w.js.Stream(t.Context(), w.gw.names.DeliveriesStream())
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	c.Metadata = wire.StoredMetadata(2)
	if _, err := w.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.publish("events.x", "{}", nil)
	gw, err := New(Options{Config: w.cfg, Registry: prometheus.NewRegistry(), Grace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const want = "stream FANJET_DELIVERIES: a newer Fanjet stored version 2 there (fanjet.version), and this one reads versions up to 1; " +
		"fix: run the newer Fanjet again, or go back to a copy of the store from before the upgrade"
	if err := gw.Run(ctx); err == nil || err.Error() != want {
		t.Errorf("Run() = %v", err)
	}
	if n := len(w.hook.all()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if n := w.messages(w.gw.names.DeliveriesStream()); n != 0 {
		t.Errorf("%d deliveries were stored", n)
	}
}
