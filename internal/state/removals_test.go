package state

import (
	"testing"
	"time"

	"go.uber.org/zap"
)

// farAway is what a clock says that is far from the server's.
var farAway = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// Since when an endpoint is missing is when the server stored the entry, whatever
// the clock of the replica that wrote it said.
func TestRemovalsGoByTheServersClock(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	for name, text := range map[string]string{
		"behind":     time.Now().Add(-11 * time.Minute).UTC().Format(time.RFC3339Nano),
		"ahead":      time.Now().Add(11 * time.Minute).UTC().Format(time.RFC3339Nano),
		"unreadable": "yesterday",
	} {
		if _, err := kv.Create(t.Context(), removedPrefix+name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		entry, err := kv.Get(t.Context(), removedPrefix+name)
		if err != nil {
			t.Fatal(err)
		}
		// This replica's clock, too, is far from the server's.
		r := NewRemovals(kv, func() time.Time { return farAway }, func(string) bool { return false }, zap.NewNop())
		since, err := r.Since(t.Context(), name)
		if err != nil || !since.Equal(entry.Created()) {
			t.Errorf("%s: missing since %v, %v; the server stored the entry at %v", name, since, err, entry.Created())
		}
	}
	r := NewRemovals(kv, func() time.Time { return farAway }, func(string) bool { return false }, zap.NewNop())
	if since, err := r.Since(t.Context(), "new"); err != nil || !since.Equal(farAway) {
		t.Errorf("first missed at %v, %v, want %v by the server's clock", since, err, farAway)
	}
	if entry, err := kv.Get(t.Context(), removedPrefix+"new"); err != nil || string(entry.Value()) != farAway.UTC().Format(time.RFC3339Nano) {
		t.Errorf("the new entry: %v, %v", entry, err)
	}
}
