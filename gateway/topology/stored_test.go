package topology

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
	if err := Check(t.Context(), f.js, f.names, f.config); err != nil {
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
			if newer, ok := errors.AsType[*wire.NewerError](err); !ok || !IsRefusal(err) || newer.Version != "2" {
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
			if now := Check(t.Context(), f.js, f.names, f.config); now == nil || now.Error() != err.Error() {
				t.Errorf("a gateway that runs says %v", now)
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
			have, want := DeliveriesStream(names, 1), DeliveriesStream(names, 1)
			if kind == "audit" {
				have, want = AuditStream(names, 1), AuditStream(names, 1)
			}
			have.Metadata, want.Metadata = test.have, wire.StoredMetadata(2)
			r := compare(have, want)
			if got := strings.Join(r.Changes, "; "); got != test.want || r.err() != nil {
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
