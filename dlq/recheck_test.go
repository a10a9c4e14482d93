package dlq

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
)

// window is how long the deliveries stream remembers ids in these tests.
const window = 500 * time.Millisecond

// shortWindow gives the deliveries stream that window.
func (f *fixture) shortWindow() {
	f.t.Helper()
	cfg := streamConfigs(f.names)[1]
	cfg.Duplicates = window
	if _, err := f.js.UpdateStream(f.t.Context(), cfg); err != nil {
		f.t.Fatal(err)
	}
}

// forgotten waits until the deliveries stream has forgotten every id that it
// learned up to now. What it has to store for that, it removes.
func (f *fixture) forgotten(t *testing.T) {
	t.Helper()
	subject := f.names.DeliverSubject("probe")
	publish := func() *jetstream.PubAck {
		ack, err := f.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: nats.Header{nats.MsgIdHdr: {"probe"}}})
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	publish() // the last id that it learned
	await(t, func() bool { return !publish().Duplicate })
	stream, err := f.js.Stream(t.Context(), f.names.DeliveriesStream())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(subject)); err != nil {
		t.Fatal(err)
	}
}

// clock is one that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// second opens the queue once more, as another operator does.
func (f *fixture) second() *Queue {
	f.t.Helper()
	q, err := Open(f.t.Context(), f.js, f.names)
	if err != nil {
		f.t.Fatal(err)
	}
	return q
}

// TestReplayStandsStill has a replay stand still, with letters that it has read,
// until NATS has forgotten what another one replayed meanwhile. What it goes on
// with then is not delivered again.
func TestReplayStandsStill(t *testing.T) {
	t.Parallel()
	const n, inFlight = 200, 10
	f := newFixture(t, natstest.Options{})
	f.shortWindow()
	f.putMany(n)
	var now clock
	f.now = now.now

	stands, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		once.Do(func() { close(stands) })
		<-goOn
		return f.deleteLetter(ctx, seq)
	}
	type ended struct {
		Outcome
		err error
	}
	first := make(chan ended, 1)
	go func() {
		out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: inFlight})
		first <- ended{out, err}
	}()
	<-stands
	await(t, func() bool { return f.deliveries() == inFlight })

	other, err := f.second().Replay(t.Context(), Filter{}, ReplayOptions{})
	if err != nil || other.Done != n {
		t.Fatalf("the other replay: %+v, %v", other, err)
	}
	f.forgotten(t)
	now.advance(3 * time.Minute)
	close(goOn)
	out := <-first
	if out.err != nil || out.Skipped != n || out.Done+out.Failed != 0 {
		t.Errorf("the one that stood still: %+v, %v, want all %d skipped: the other one replayed them", out.Outcome, out.err, n)
	}
	f.expectOnce(n)
}

// TestReplayGoesOnAfterAStandstill has nobody else touch the letters: they are
// looked at again, and replayed.
func TestReplayGoesOnAfterAStandstill(t *testing.T) {
	t.Parallel()
	const n = 300
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	var now clock
	f.now = now.now
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq%50 == 0 {
			now.advance(3 * time.Minute)
		}
		return f.deleteLetter(ctx, seq)
	}
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: 20})
	if err != nil || out.Done != n {
		t.Errorf("Replay() = %+v, %v, want %d done", out, err, n)
	}
	f.expectOnce(n)
}

// A letter that waits for its turn is looked at again, too.
func TestSlowReplayLooksAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.shortWindow()
	f.put(spec{data: "a"}, spec{data: "b"})
	var now clock
	f.now = now.now
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq == 1 {
			// The second one was read already, or is read now: both must do.
			if out, err := f.second().Replay(ctx, Filter{}, ReplayOptions{}); err != nil || out.Done != 2 {
				t.Errorf("the other replay: %+v, %v", out, err)
			}
			f.forgotten(t)
			now.advance(2 * time.Minute)
		}
		return f.deleteLetter(ctx, seq)
	}
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: 1})
	if err != nil || out.Skipped != 2 {
		t.Errorf("Replay() = %+v, %v, want 2 skipped", out, err)
	}
	f.expectOnce(2)
}

func TestOld(t *testing.T) {
	t.Parallel()
	seen := time.Now()
	for _, tt := range []struct {
		name string
		now  time.Time
		want bool
	}{
		{"at once", seen, false},
		{"within the minute", seen.Add(readFor), false},
		{"after it", seen.Add(readFor + 1), true},
		// The monotonic reading is that of a machine that slept.
		{"asleep", seen.Round(0).Add(time.Hour), true},
		{"the clock was set back", seen.Round(0).Add(-time.Hour), false},
	} {
		if got := old(seen, tt.now); got != tt.want {
			t.Errorf("%s: old() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestHoldsKnowsTheLetter must not take another message with the same sequence,
// of a stream that was created again, for the letter.
func TestHoldsKnowsTheLetter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{}, spec{})
	letter := f.list(Filter{})[0]
	if here, err := f.holds(t.Context(), 1, letter.DeadLettered); err != nil || !here {
		t.Errorf("holds() = %v, %v", here, err)
	}
	if here, err := f.holds(t.Context(), 1, letter.DeadLettered.Add(-time.Second)); err != nil || here {
		t.Errorf("another letter with the sequence: %v, %v", here, err)
	}
	if _, err := f.deleteLetter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if here, err := f.holds(t.Context(), 1, letter.DeadLettered); err != nil || here {
		t.Errorf("a letter that is gone: %v, %v", here, err)
	}
	if err := f.js.DeleteStream(t.Context(), f.names.DeadLettersStream()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.holds(t.Context(), 2, letter.DeadLettered); err == nil || !strings.Contains(err.Error(), "looking at the letter 2 again") {
		t.Errorf("without the stream: %v", err)
	}
}
