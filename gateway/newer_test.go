package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fanjet/internal/wire"
)

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

// doctor names each stream that a newer Fanjet marked.
func TestDoctorFindsNewerVersions(t *testing.T) {
	t.Parallel()
	f := newBareServer(t)
	f.mustEnsure()
	marked := []string{"FANJET_DELIVERIES", "FANJET_DLQ", "KV_fanjet-state"}
	for _, name := range marked {
		c := f.stream(name).Config
		c.Metadata = wire.StoredMetadata(2)
		if _, err := f.js.UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
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
}
