package overdue

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fanjet/internal/natstest"
)

// A server that cannot open a file of the stream, for want of descriptors for
// example, says that what is in it is not there, and forgets the schedules in it.
// They are found when the store works again.
func TestSchedulesOfAStoreThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, passes := range map[string]func(failing *bool, s *natstest.Server){
		"the store works again":   func(failing *bool, _ *natstest.Server) { *failing = false },
		"the server is restarted": func(_ *bool, s *natstest.Server) { s.Stop(); s.Resume() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			srv := natstest.Start(t, natstest.Options{Listen: true, StoreDir: dir})
			js := srv.JetStream()
			w := newWatch(t, js)
			var failing bool
			w.opts.StoreFails = func() bool { return failing }
			due := time.Now().Add(3 * time.Second)
			w.plan(t, "a", due, nil)
			w.plan(t, "b", due, nil)
			srv.Stop() // what it has in memory is gone
			srv.Resume()
			look := func() {
				t.Helper()
				if _, err := w.look(t.Context()); err != nil {
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
			file := filepath.Join(dir, "jetstream", "$G", "streams", w.names.RetriesStream(), "msgs", "1.blk")
			// It cannot be opened, and is there.
			if err := errors.Join(os.Rename(file, file+".away"), os.Symlink(file, file)); err != nil {
				t.Fatal(err)
			}
			failing = true
			until("their time is over", func() bool { return time.Since(due) > 2*time.Second })
			if len(w.late) > 0 || len(w.known.entries) > 0 {
				t.Fatal("the server says that they are there")
			}
			if err := os.Rename(file+".away", file); err != nil {
				t.Fatal(err)
			}
			passes(&failing, srv)
			until("they are set anew", func() bool { return len(w.late) == 2 })
			w.waitFired(t, 2)
		})
	}
}
