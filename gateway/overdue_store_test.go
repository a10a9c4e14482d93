package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fanjet/gateway/topology"
	"fanjet/internal/natstest"
	"fanjet/internal/servertime"
	"fanjet/internal/wire"
)

// A server that cannot open a file of the stream, for want of descriptors for
// example, says that what is in it is not there, and forgets the schedules in it.
// They are found when the store works again.
func TestSchedulesOfAStoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, passes := range map[string]func(*overdue, *natstest.Server){
		"the store works again":   func(o *overdue, _ *natstest.Server) { o.health.set(partStorage, nil) },
		"the server is restarted": func(_ *overdue, s *natstest.Server) { s.Stop(); s.Resume() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			srv := natstest.Start(t, natstest.Options{Listen: true, StoreDir: dir})
			js := srv.JetStream()
			names := wire.NewNames("")
			if _, err := js.CreateStream(t.Context(), topology.RetriesStream(names, 1)); err != nil {
				t.Fatal(err)
			}
			o := &overdue{
				js: js, names: names, clock: &servertime.Clock{}, health: &health{log: zap.NewNop()}, log: zap.NewNop(),
				seen: newOverdueSeen(prometheus.NewRegistry()), after: time.Second,
			}
			o.init()
			due := time.Now().Add(3 * time.Second)
			o.plan(t, "a", due, nil)
			o.plan(t, "b", due, nil)
			srv.Stop() // what it has in memory is gone
			srv.Resume()
			look := func() {
				t.Helper()
				if _, err := o.look(t.Context()); err != nil {
					t.Log(err)
				}
			}
			until := func(what string, ok func() bool) {
				t.Helper()
				deadline := time.After(time.Minute)
				for !ok() {
					select {
					case <-deadline:
						t.Fatalf("waited too long until %s", what)
					case <-time.After(20 * time.Millisecond):
						look()
					}
				}
			}
			file := filepath.Join(dir, "jetstream", "$G", "streams", names.RetriesStream(), "msgs", "1.blk")
			// It cannot be opened, and is there.
			if err := errors.Join(os.Rename(file, file+".away"), os.Symlink(file, file)); err != nil {
				t.Fatal(err)
			}
			o.health.set(partStorage, errors.New("it fails"))
			until("their time is over", func() bool { return time.Since(due) > 2*time.Second })
			if len(o.late) > 0 || len(o.known.entries) > 0 {
				t.Fatal("the server says that they are there")
			}
			if err := os.Rename(file+".away", file); err != nil {
				t.Fatal(err)
			}
			passes(o, srv)
			until("they are set anew", func() bool { return len(o.late) == 2 })
			o.waitFired(t, 2)
		})
	}
}
