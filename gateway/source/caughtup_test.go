package source

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/gateway/topology"
)

// fakeStream is what a leader says about a stream and its consumer.
type fakeStream struct {
	jetstream.Stream
	info     jetstream.StreamInfo
	consumer jetstream.ConsumerInfo
}

func (s *fakeStream) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return &s.info, nil
}
func (s *fakeStream) CachedInfo() *jetstream.StreamInfo { return &s.info }
func (s *fakeStream) Consumer(context.Context, string) (jetstream.Consumer, error) {
	return fakeConsumer{info: &s.consumer}, nil
}

type fakeConsumer struct {
	jetstream.Consumer
	info *jetstream.ConsumerInfo
}

func (c fakeConsumer) CachedInfo() *jetstream.ConsumerInfo { return c.info }

// A server that has just become the leader of a replicated stream counts only what
// it has applied. For a while that is waited for; what then is still missing is
// lost. A stream with one replica has nothing to wait for.
func TestLeaderThatHasNotCaughtUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		replicas          int
		cursor, delivered uint64
		last              uint64
		waits             bool
	}{
		"caught up":                     {3, 100, 100, 100, false},
		"behind the cursor":             {3, 100, 50, 99, true},
		"behind the consumer":           {3, 50, 100, 99, true},
		"one replica, behind":           {1, 100, 100, 99, false},
		"nothing read yet":              {3, 0, 0, 0, false},
		"events that nobody has read":   {3, 100, 100, 200, false},
		"a consumer ahead of no cursor": {3, 0, 10, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				created := time.Now()
				m := &Matcher{stream: "EVENTS", cursor: &cursor{}}
				m.cursor.at.Store(&progress{Created: created, Sequence: tt.cursor})
				s := &fakeStream{}
				s.info.Created, s.info.Config.Replicas, s.info.State.LastSeq = created, tt.replicas, tt.last
				s.consumer.Delivered.Stream = tt.delivered
				look := func(when string, waits bool) {
					t.Helper()
					if err := m.caughtUp(t.Context(), s); (err != nil) != waits {
						t.Errorf("%s: %v", when, err)
					}
				}
				look("at first", tt.waits)
				<-time.After(topology.CatchUp / 2)
				look("later", tt.waits)
				<-time.After(topology.CatchUp)
				look("much later", false)
				if !tt.waits {
					return
				}
				s.info.State.LastSeq = 1000
				look("when it has caught up", false)
				s.info.State.LastSeq = tt.last
				look("another leader", true)
			})
		})
	}
}
