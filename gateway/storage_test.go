package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fanjet/internal/natstest"
)

// A store of a server that is not ours met an error: the gateway is not ready at
// once, with nothing to publish, and says which stream, where, and what to do. It
// goes on after the restart.
func TestStoreOfAnotherServerFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	w.serve(natstest.Options{Listen: true, StoreDir: dir})
	w.start()
	names := w.gw.names
	w.publish("events.x", "{}", nil)
	w.delivered("a", 1)
	w.quiet()
	streams := []string{names.DeliveriesStream(), names.RetriesStream(), names.LanesStream(), names.DeadLettersStream()}
	messages := func(stream string) string { return filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs") }
	next := []string{"2.blk", "3.blk", "4.blk"} // one of them is the next file
	if err := probeStorage(t.Context(), w.js, names, false); err != nil {
		t.Errorf("all is well, and a probe finds: %v", err)
	}
	// A purge of all goes on in a new file. That cannot be made.
	for _, stream := range streams {
		for _, name := range next {
			_ = os.Mkdir(filepath.Join(messages(stream), name), 0o700) // unless it is there
		}
		s, err := w.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Purge(t.Context()); err == nil {
			t.Fatalf("the purge of %s met no error", stream)
		}
	}
	for _, stream := range streams {
		w.unready("the stream " + stream + " on the NATS server ")
	}
	if err := w.gw.Ready().Error(); !strings.Contains(err, "is a directory") || !strings.Contains(err, "restart that server") {
		t.Errorf("it does not say why, and what to do: %s", err)
	}
	w.nats.Stop()
	for _, stream := range streams {
		for _, name := range next {
			path := filepath.Join(messages(stream), name)
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	w.nats.Resume()
	w.ready()
	w.publish("events.x", "{}", nil)
	w.delivered("a", 2)
}
