package dlq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// childURL names the NATS of a child process that replays, see replayAndHang.
const childURL = "FANJET_TEST_REPLAY_URL"

// removedBeforeKill is how many letters the child removes before it hangs.
const removedBeforeKill = 40

// replayAndHang replays everything, but stops removing letters after a few, as
// a process would that is about to be killed.
func replayAndHang(url string) int {
	nc, err := nats.Connect(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	js, err := jetstream.New(nc)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	q, err := Open(context.Background(), js, wire.NewNames(""))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var removed atomic.Int64
	q.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if removed.Add(1) > removedBeforeKill {
			select {}
		}
		return q.deleteLetter(ctx, seq)
	}
	_, err = q.Replay(context.Background(), Filter{}, ReplayOptions{})
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

// TestReplayKilled kills a process between publishing deliveries and removing
// the letters, and replays again.
func TestReplayKilled(t *testing.T) {
	t.Parallel()
	const n = 500
	f := newFixture(t, natstest.Options{Listen: true})
	f.putMany(n)

	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childURL+"="+f.srv.URL())
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return f.deliveries() == n && f.letters() == n-removedBeforeKill })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended before it was killed")
	}

	f.replay(Filter{}, n-removedBeforeKill)
	f.expectOnce(n)
}

// TestReplayCancelled cancels replays at random moments until nothing is left.
// A replay that is cancelled leaves nothing in between: every letter is either
// delivered and gone, or still there and not delivered.
func TestReplayCancelled(t *testing.T) {
	t.Parallel()
	const n = 800
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	random := rand.New(rand.NewPCG(1, 2))
	for round, left := 0, n; left > 0; round++ {
		ctx, cancel := context.WithCancel(t.Context())
		budget := int64(random.IntN(400) + 1)
		f.remove = func(ctx context.Context, seq uint64) (bool, error) {
			if budget := atomic.AddInt64(&budget, -1); budget == 0 {
				cancel()
			}
			return f.deleteLetter(ctx, seq)
		}
		out, err := f.Replay(ctx, Filter{}, ReplayOptions{InFlight: 100})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if out.Done == 0 {
			t.Fatalf("round %d got nowhere: %+v", round, out)
		}
		left = f.letters()
		if got := f.deliveries(); got+left != n {
			t.Fatalf("round %d: %d deliveries and %d letters, want %d together", round, got, left, n)
		}
	}
	f.expectOnce(n)
}

// TestReplayRemovalFails keeps the letters that it cannot remove, and says so;
// the next replay removes them without delivering them again.
func TestReplayRemovalFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.remove = func(removing context.Context, seq uint64) (bool, error) {
		if seq%2 == 1 {
			return f.deleteLetter(removing, seq)
		}
		cancel()
		return false, errors.New("not today")
	}
	f.grace = time.Millisecond
	out, err := f.Replay(ctx, Filter{}, ReplayOptions{})
	if !errors.Is(err, context.Canceled) || out.Failed == 0 || out.Done+out.Failed > 10 {
		t.Fatalf("Replay() = %+v, %v", out, err)
	}
	for _, failure := range out.Failures {
		if !errors.Is(failure.Err, errNotRemoved) && !errors.Is(failure.Err, errInterrupted) {
			t.Errorf("the letter %d failed: %v", failure.Seq, failure.Err)
		}
	}
	f.remove = f.deleteLetter
	left := f.letters() // a removal may have succeeded although its answer came too late
	if left < 5 || left > 10-out.Done {
		t.Errorf("%d letters are left after %+v", left, out)
	}
	f.replay(Filter{}, left)
	f.expectOnce(10)
}

// TestReplayStopsWhenNothingCanBeRemoved must not deliver the whole queue and
// keep it, too.
func TestReplayStopsWhenNothingCanBeRemoved(t *testing.T) {
	t.Parallel()
	const n, inFlight = 300, 20
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	f.patience, f.grace = 0, time.Millisecond
	f.remove = func(context.Context, uint64) (bool, error) { return false, errors.New("read-only") }
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: inFlight})
	if !errors.Is(err, errNotRemoved) || out.Done != 0 || out.Failed == 0 || out.Failed > 2*inFlight {
		t.Errorf("Replay() = %+v, %v", out, err)
	}
	f.remove = f.deleteLetter
	f.replay(Filter{}, n)
	f.expectOnce(n)
}

func TestReplaysAtOnce(t *testing.T) {
	t.Parallel()
	const n = 600
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	var wg sync.WaitGroup
	var done, failed atomic.Int64
	for range 3 {
		wg.Go(func() {
			out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{})
			if err != nil {
				t.Error(err)
			}
			done.Add(int64(out.Done))
			failed.Add(int64(out.Failed))
		})
	}
	wg.Wait()
	if done.Load() != n || failed.Load() != 0 {
		t.Errorf("%d done and %d failed, want %d and 0", done.Load(), failed.Load(), n)
	}
	f.expectOnce(n)
}

// TestReplayOutlivesRestart restarts NATS in the middle.
func TestReplayOutlivesRestart(t *testing.T) {
	t.Parallel()
	const n = 600
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	var once sync.Once
	restarted := make(chan struct{})
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq > n/4 {
			once.Do(func() {
				go func() {
					defer close(restarted)
					f.srv.Restart()
				}()
			})
		}
		return f.deleteLetter(ctx, seq)
	}
	out, err := f.Replay(t.Context(), Filter{}, ReplayOptions{InFlight: 50})
	<-restarted
	if err != nil || out.Done+out.Skipped != n {
		t.Errorf("Replay() = %+v, %v, want %d done or skipped", out, err, n)
	}
	f.expectOnce(n)
}

// TestReplayLeavesArrivals has every delivery fail at once: its letter must
// wait for the next replay, or this one would never end.
func TestReplayLeavesArrivals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(5)
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if _, err := f.js.PublishMsg(ctx, spec{data: "again"}.message(f.names)); err != nil {
			return false, err
		}
		return f.deleteLetter(ctx, seq)
	}
	f.replay(Filter{}, 5)
	if left := f.letters(); left != 5 {
		t.Errorf("%d letters are left, want the 5 that arrived meanwhile", left)
	}
}

// TestReplayRate replays so slowly that the second letter would take hours.
func TestReplayRate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.putMany(5)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		defer cancel()
		return f.deleteLetter(ctx, seq)
	}
	var last Progress
	out, err := f.Replay(ctx, Filter{}, ReplayOptions{Rate: 0.0001, Progress: func(p Progress) { last = p }})
	if !errors.Is(err, context.Canceled) || out.Done != 1 || f.letters() != 4 {
		t.Errorf("Replay() = %+v, %v; %d letters are left", out, err, f.letters())
	}
	if last != (Progress{Done: 1}) {
		t.Errorf("the last progress is %+v", last)
	}
}

// await waits for a condition.
func await(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the condition did not come true")
		}
	}
}
