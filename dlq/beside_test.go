package dlq

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// another opens the queue over a connection of its own, as another process does.
func (f *fixture) another() *Queue {
	f.t.Helper()
	js, err := jetstream.New(f.srv.Connect())
	if err != nil {
		f.t.Fatal(err)
	}
	q, err := Open(f.t.Context(), js, f.names)
	if err != nil {
		f.t.Fatal(err)
	}
	return q
}

// TestRemovalBesideReplay removes letters while they are replayed. Each is counted
// by one of the two, and what was delivered is what was replayed.
func TestRemovalBesideReplay(t *testing.T) {
	t.Parallel()
	const n = 3000
	all := Filter{Reason: ReasonExhausted} // one by one
	for name, remove := range map[string]func(*Queue, string) (Outcome, error){
		"purge in one step": func(q *Queue, _ string) (Outcome, error) {
			return q.Purge(context.Background(), Filter{}, PurgeOptions{})
		},
		"purge one by one": func(q *Queue, _ string) (Outcome, error) {
			return q.Purge(context.Background(), all, PurgeOptions{})
		},
		"purge of an endpoint": func(q *Queue, _ string) (Outcome, error) {
			return q.Purge(context.Background(), Filter{Endpoint: "endpoint-3"}, PurgeOptions{})
		},
		"drain": func(q *Queue, path string) (Outcome, error) {
			file, err := OpenDrainFile(path)
			if err != nil {
				return Outcome{}, err
			}
			out, err := q.Drain(context.Background(), all, file, DrainOptions{})
			return out, errors.Join(err, file.Close())
		},
	} {
		// The removal begins before, amid and near the end of the replay.
		for _, after := range []uint64{1, 500, 2900} {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, natstest.Options{})
				f.putMany(n)
				other, path := f.another(), filepath.Join(t.TempDir(), "letters.jsonl")
				var removed Outcome
				var wg sync.WaitGroup
				var once sync.Once
				f.remove = func(ctx context.Context, seq uint64) (bool, error) {
					if seq >= after {
						once.Do(func() {
							wg.Go(func() {
								var err error
								if removed, err = remove(other, path); err != nil {
									t.Error(err)
								}
							})
						})
					}
					return f.deleteLetter(ctx, seq)
				}
				replayed, err := f.Replay(t.Context(), Filter{}, ReplayOptions{})
				wg.Wait()
				if err != nil || replayed.Failed+removed.Failed > 0 {
					t.Fatalf("replayed %+v, %v; removed %+v", replayed, err, removed)
				}
				if replayed.Done+removed.Done != n || f.deliveries() != replayed.Done || f.letters() != 0 {
					t.Errorf("replayed %+v, removed %+v: want %d together, and as many replayed as there are deliveries, %d; %d letters are left",
						replayed, removed, n, f.deliveries(), f.letters())
				}
			})
		}
	}
}

// A replay that stands still answers nobody; those who remove letters go on.
func TestRemovalBesideAReplayThatStandsStill(t *testing.T) {
	t.Parallel()
	const n = 20
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	stands, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		once.Do(func() { close(stands) })
		<-goOn
		return f.deleteLetter(ctx, seq)
	}
	ended := make(chan Outcome, 1)
	go func() {
		out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: 5})
		if err != nil {
			t.Error(err)
		}
		ended <- out
	}()
	<-stands
	await(t, func() bool { return f.deliveries() == 5 })
	// It takes as long as an answer is waited for, and not longer.
	purged, err := f.another().Purge(t.Context(), Filter{}, PurgeOptions{})
	if err != nil || purged.Done != n {
		t.Errorf("Purge() = %+v, %v", purged, err)
	}
	close(goOn)
	// What waited was looked at again, since somebody removed letters.
	if out := <-ended; out.Skipped+out.Done != n || f.deliveries() != 5 {
		t.Errorf("Replay() = %+v; %d deliveries, want the 5 that there were", out, f.deliveries())
	}
}

// What no replay says, or what cannot be read, changes no report.
func TestRemoverHearsNonsense(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	nc := f.srv.Connect()
	for _, tt := range []struct {
		endpoint string
		say      []string
		skipped  int // of three
	}{
		{"billing", []string{"", "nonsense", `{"delivered": 7}`, `{"delivered": {"crm": 7}}`, `{"delivered": {"billing": -3}}`, `{"to": "somebody", "delivered": {"billing": 2}}`}, 0},
		{"", []string{`{"delivered": {"a": 9223372036854775807, "b": 9223372036854775807}}`}, 0},
		{"billing", []string{`{"from": "x", "delivered": {"crm": 2, "billing": 1}}`}, 1},
		{"", []string{`{"from": "x", "delivered": {"crm": 1, "billing": 1}}`}, 2},
		{"", []string{`{"from": "x", "delivered": {"crm": 9}}`}, 3}, // more than there were
	} {
		answers, err := nc.SubscribeSync(f.names.ControlReplaySubject())
		if err != nil {
			t.Fatal(err)
		}
		r := f.startRemover(tt.endpoint)
		if err := errors.Join(nc.Flush(), f.js.Conn().Flush()); err != nil {
			t.Fatal(err)
		}
		for _, text := range append(tt.say, `{"from": "last"}`) {
			if err := nc.Publish(f.names.ControlRemoveSubject(), []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		for answer := ""; !strings.Contains(answer, `"to":"last"`); {
			m, err := answers.NextMsg(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			answer = string(m.Data)
		}
		if err := errors.Join(answers.Unsubscribe(), nc.Flush()); err != nil {
			t.Fatal(err)
		}
		if out := r.end(Outcome{Done: 3}); out.Done != 3-tt.skipped || out.Skipped != tt.skipped {
			t.Errorf("after %q the outcome is %+v, want %d of three skipped", tt.say, out, tt.skipped)
		}
	}
}
