package state

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Nothing follows from the end of the grace time before the entry was looked at once
// more: a replica that knows the endpoint may have deleted it.
func TestAbsenceNeedsASecondLook(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Minute
	since := farAway
	for name, test := range map[string]struct {
		absence                Absence
		now                    time.Duration // after it began
		over, confirmed, stale bool
	}{
		"not known":                      {now: time.Hour, stale: true},
		"read just now":                  {absence: Absence{Since: since, Read: since}},
		"read a moment ago":              {absence: Absence{Since: since, Read: since}, now: grace/rereads - 1},
		"read a while ago":               {absence: Absence{Since: since, Read: since}, now: grace / rereads, stale: true},
		"nearly over":                    {absence: Absence{Since: since, Read: since.Add(grace - 1)}, now: grace - 1},
		"over, not looked at since":      {absence: Absence{Since: since, Read: since.Add(grace - 1)}, now: grace, over: true, stale: true},
		"over, and looked at":            {absence: Absence{Since: since, Read: since.Add(grace)}, now: grace, over: true, confirmed: true},
		"over, and looked at long after": {absence: Absence{Since: since, Read: since.Add(time.Hour)}, now: time.Hour, over: true, confirmed: true},
	} {
		now := since.Add(test.now)
		if got := test.absence.Over(now, grace); got != test.over {
			t.Errorf("%s: over %v", name, got)
		}
		if got := test.absence.Stale(now, grace); got != test.stale {
			t.Errorf("%s: stale %v", name, got)
		}
		if got := test.absence.Confirmed(grace); !test.absence.Since.IsZero() && got != test.confirmed {
			t.Errorf("%s: confirmed %v", name, got)
		}
	}
}

// A replica deletes the entries of the endpoints that it knows, also of those that it
// comes to know, and no others.
func TestRemovalsDeleteWhatIsKnown(t *testing.T) {
	t.Parallel()
	_, kv := stateBucket(t)
	missing := func(name string) {
		t.Helper()
		r := NewRemovals(kv, time.Now, nil, zap.NewNop())
		if _, err := r.Since(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	known := make(chan map[string]bool, 1)
	known <- map[string]bool{"a": true}
	r := NewRemovals(kv, time.Now, func(name string) bool {
		all := <-known
		defer func() { known <- all }()
		return all[name]
	}, zap.NewNop())
	missing("a")
	missing("b")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	defer func() { stop(); <-ended }()
	gone := func(name string) {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			if _, err := kv.Get(t.Context(), removedPrefix+name); errors.Is(err, jetstream.ErrKeyNotFound) {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("the entry of %s is still there", name)
			case <-time.After(time.Millisecond):
			}
		}
	}
	gone("a")
	missing("a")
	gone("a")
	if removed, err := RemovedEndpoints(t.Context(), kv); err != nil || len(removed) != 1 || removed["b"].Until.Sub(removed["b"].Since) != RemovalGrace {
		t.Errorf("left: %+v, %v", removed, err)
	}
	all := <-known
	all["b"] = true
	known <- all
	r.Look()
	gone("b")
}
