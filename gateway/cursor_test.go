package gateway

import "testing"

// A cursor that somebody deleted is written again: without it a power cut could
// set the consumer of a source back to its beginning.
func TestCursorIsWrittenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	key := "cursor.EVENTS"
	written := func() bool {
		_, err := w.state().Get(t.Context(), key)
		return err == nil
	}
	w.publish("events.x", "1", nil)
	w.delivered("a", 1)
	w.waitFor("the cursor is written", written)
	if err := w.state().Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := w.state().Get(t.Context(), key); err == nil {
		t.Fatal("it is still there")
	}
	w.publish("events.x", "2", nil)
	w.delivered("a", 2)
	w.waitFor("it is written again", func() bool {
		if written() {
			return true
		}
		w.publish("events.x", "more", nil) // it follows what is acknowledged
		return false
	})
}
