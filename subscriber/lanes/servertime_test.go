package lanes

import (
	"testing"
	"time"

	"fanjet/internal/state"
)

// unconfigured is a dispatcher that has no endpoint.
type unconfigured struct{ Dispatcher }

func (unconfigured) Endpoint(string) Endpoint { return nil }

// A replica whose clock is minutes ahead of the server's, or behind, gives up the
// lane of a removed endpoint when the grace time is over by the server's clock.
func TestOrphanedByTheServersClock(t *testing.T) {
	t.Parallel()
	const grace = 10 * time.Minute
	local := time.Now()
	for name, ahead := range map[string]time.Duration{"equal": 0, "ahead": 11 * time.Minute, "behind": -11 * time.Minute} {
		server := local.Add(-ahead)
		all := New(Options{RemovalGrace: grace, ServerTime: func() time.Time { return server }}, unconfigured{})
		l := &lane{all: all, name: "a", count: 1, missing: state.Absence{Since: server.Add(-time.Minute), Read: server}}
		if is, at := l.ready(local); is || !at.Equal(local.Add(grace-time.Minute)) {
			t.Errorf("%s: missing for a minute: %v, at %v; want %v", name, is, at.Sub(local), grace-time.Minute)
		}
		l.missing = state.Absence{Since: server.Add(-grace), Read: server}
		if is, _ := l.ready(local); !is {
			t.Errorf("%s: missing for %v, and it still waits", name, grace)
		}
		l.missing = state.Absence{Since: server.Add(-grace), Read: server.Add(-time.Second)}
		if is, _ := l.ready(local); is {
			t.Errorf("%s: given up without another look", name)
		}
	}
}
