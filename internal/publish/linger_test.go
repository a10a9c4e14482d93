package publish

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// hasty is the completion of a message that waits for no others.
type hasty struct{ *collector }

func hurries(c Completion) bool {
	_, is := c.(hasty)
	return is
}

// A message that is not in a hurry waits for others, until one comes that is, or there are
// enough of them. All are stored in order then.
func TestLingers(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]int{"one hurries": 3, "enough": enough} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, stream := setup(t, jetstream.StreamConfig{})
			p := start(t, s, Options{Linger: time.Hour, Hurries: hurries})
			var c collector
			c.expect(ends)
			var want []string
			for i := range ends {
				var done Completion = &c
				if i == ends-1 && ends < enough {
					done = hasty{&c}
				}
				want = append(want, fmt.Sprint(i))
				enqueue(t, p, done, message(i, ""))
				if i < ends-1 && len(bodies(t, stream)) > 0 {
					t.Fatalf("something is stored after %d messages", i+1)
				}
			}
			for _, err := range c.wait() {
				if err != nil {
					t.Error(err)
				}
			}
			if got := bodies(t, stream); !slices.Equal(got, want) {
				t.Errorf("stored %v", got)
			}
			// The next one waits again.
			c.expect(1)
			enqueue(t, p, &c, message(ends, ""))
			if got := bodies(t, stream); len(got) > ends {
				t.Errorf("%d are stored", len(got))
			}
			p.Close()
			if err := c.wait()[ends]; !errors.Is(err, ErrClosed) {
				t.Errorf("what waited when the publisher was closed: %v", err)
			}
		})
	}
}

// Nothing waits for longer than it may.
func TestLingersNoLonger(t *testing.T) {
	t.Parallel()
	s, stream := setup(t, jetstream.StreamConfig{})
	p := start(t, s, Options{Linger: time.Millisecond})
	for i := range 3 {
		if err := p.Publish(t.Context(), &nats.Msg{Subject: message(i, "").Subject, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if got := bodies(t, stream); len(got) != 3 {
		t.Errorf("%d are stored", len(got))
	}
}

// Where nobody waits a batch may take longer, since it has one sync; but not where the
// server does not sync, and a batch is only more work.
func TestPatientPacePrefersBatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		server        server
		n             int
		hasty, waited bool
	}{
		{"few, synced", synced, 13, false, true},
		{"many, synced", synced, 150, true, true},
		{"few, not synced", unsynced, 13, false, false},
		{"many, not synced", unsynced, 150, false, false},
		{"two", synced, 2, false, false},
	} {
		for patient, want := range map[bool]bool{false: tt.hasty, true: tt.waited} {
			p := pace{patient: patient}
			tt.server.publish(&p, 200, 100, false)
			if _, batch := p.prefers(tt.n, false); batch != want {
				t.Errorf("%s, patient %v: batch %v", tt.name, patient, batch)
			}
		}
	}
}
