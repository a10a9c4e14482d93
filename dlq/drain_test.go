package dlq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"fanjet/internal/natstest"
	"fanjet/internal/wire"
)

// drain drains to a file and fails the test unless so many letters were.
func (f *fixture) drain(filter Filter, path string, want int) Outcome {
	f.t.Helper()
	file, err := OpenDrainFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := f.Drain(f.t.Context(), filter, file, DrainOptions{})
	if err := errors.Join(err, file.Close()); err != nil || out.Done != want {
		f.t.Fatalf("Drain() = %+v, %v, want %d done", out, err, want)
	}
	return out
}

// exported is what Export writes.
func (f *fixture) exported(filter Filter) string {
	f.t.Helper()
	var text strings.Builder
	if out, err := f.Export(f.t.Context(), filter, &text); err != nil || out.Failed > 0 {
		f.t.Fatalf("Export() = %+v, %v", out, err)
	}
	return text.String()
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expectLines fails the test unless a file has exactly those lines, each once, in
// any order.
func expectLines(t *testing.T, path, want string) {
	t.Helper()
	count := make(map[string]int)
	for line := range strings.Lines(content(t, path)) {
		count[line]++
	}
	for line := range strings.Lines(want) {
		if count[line] != 1 {
			t.Errorf("the file has %d times %s", count[line], line)
		}
		delete(count, line)
	}
	for line := range count {
		t.Errorf("the file has also %s", line)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(
		spec{data: `{"html":"<b>&</b>"}`, headers: nats.Header{"X-Team": {"payments"}}},
		spec{endpoint: "crm", data: "\x00\xff not text"},
		spec{}, spec{}, spec{},
	)
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	billing, crm := f.exported(Filter{Endpoint: "billing"}), f.exported(Filter{Endpoint: "crm"})
	f.drain(Filter{Endpoint: "billing"}, path, 4)
	if got := content(t, path); got != billing {
		t.Errorf("the file has %s\nwant %s", got, billing)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; letters have bodies", info.Mode(), err)
	}
	if left := f.list(Filter{}); len(left) != 1 || left[0].Endpoint != "crm" {
		t.Errorf("left %+v", left)
	}
	// The next one goes on behind it.
	f.drain(Filter{}, path, 1)
	if got := content(t, path); got != billing+crm || f.letters() != 0 || f.deliveries() != 0 {
		t.Errorf("the file has %s; %d letters and %d deliveries", got, f.letters(), f.deliveries())
	}
}

func TestDrainNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{})
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	f.drain(Filter{Reason: ReasonExpired}, path, 0)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without letters stays: %v", err)
	}
	out, err := f.Drain(t.Context(), Filter{}, nil, DrainOptions{DryRun: true})
	if err != nil || out.Done != 1 || f.letters() != 1 {
		t.Errorf("a dry run: %+v, %v, %d letters are left", out, err, f.letters())
	}
}

// Many batches, with letters that arrive while they are drained.
func TestDrainLeavesArrivals(t *testing.T) {
	t.Parallel()
	const n = 2*pageLetters + 7
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	want := f.exported(Filter{})
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq%100 == 0 {
			if _, err := f.js.PublishMsg(ctx, spec{data: "new"}.message(f.names)); err != nil {
				return false, err
			}
		}
		return f.deleteLetter(ctx, seq)
	}
	f.drain(Filter{}, path, n)
	expectLines(t, path, want)
	if left := f.list(Filter{}); len(left) != n/100 {
		t.Errorf("%d letters are left, want the %d that arrived", len(left), n/100)
	}
}

// TestDrainKilled kills a process that has written letters and not removed all of
// them, and drains again.
func TestDrainKilled(t *testing.T) {
	t.Parallel()
	const n = pageLetters + 100
	f := newFixture(t, natstest.Options{Listen: true})
	f.putMany(n)
	want := f.exported(Filter{})
	path := filepath.Join(t.TempDir(), "letters.jsonl")

	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childURL+"="+f.srv.URL(), childFile+"="+path)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return f.letters() == n-removedBeforeKill })
	if _, err := OpenDrainFile(path); !errors.Is(err, ErrNoDrainFile) || !strings.Contains(err.Error(), "another drain") {
		t.Errorf("opened beside another drain: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended before it was killed")
	}
	if got := strings.Count(content(t, path), "\n"); got != pageLetters {
		t.Errorf("the killed one wrote %d lines, want those of one batch, %d", got, pageLetters)
	}
	// Another life of the file could have been cut off anywhere.
	if err := os.WriteFile(path, []byte(content(t, path)+`{"seq":4711,"event_id":"msg_`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.drain(Filter{}, path, n-removedBeforeKill)
	expectLines(t, path, want)
	if f.letters() != 0 {
		t.Errorf("%d letters are left", f.letters())
	}
}

// A drain that is cancelled finishes what it has written, and goes on when it is
// run again.
func TestDrainCancelled(t *testing.T) {
	t.Parallel()
	const n = 3 * pageLetters
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	want := f.exported(Filter{})
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq == pageLetters+1 {
			cancel()
		}
		return f.deleteLetter(ctx, seq)
	}
	file, err := OpenDrainFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Drain(ctx, Filter{}, file, DrainOptions{})
	if !errors.Is(err, context.Canceled) || out.Done != 2*pageLetters || out.Failed != 0 {
		t.Errorf("Drain() = %+v, %v, want two batches and its cause", out, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(content(t, path), "\n"); got != out.Done || f.letters() != n-out.Done {
		t.Errorf("%d lines and %d letters after %+v", got, f.letters(), out)
	}
	f.drain(Filter{}, path, pageLetters)
	expectLines(t, path, want)
}

// Letters that cannot be removed stay, and the next drain does not write them
// again.
func TestDrainRemovalFails(t *testing.T) {
	t.Parallel()
	const n = pageLetters + 50
	f := newFixture(t, natstest.Options{})
	f.putMany(n)
	f.patience = 0
	want := f.exported(Filter{})
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if seq%2 == 0 {
			return false, errors.New("not today")
		}
		return f.deleteLetter(ctx, seq)
	}
	file, err := OpenDrainFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.Drain(t.Context(), Filter{}, file, DrainOptions{})
	if err == nil || out.Done != pageLetters/2 || out.Failed != pageLetters/2 || !strings.Contains(out.Failures[0].Err.Error(), "drain again") {
		t.Errorf("Drain() = %+v, %v, want it to stop with half of a batch", out, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	f.remove = f.deleteLetter
	f.drain(Filter{}, path, n-out.Done)
	expectLines(t, path, want)
}

func TestDrainSkipsWhatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	f.put(spec{}, spec{})
	f.remove = func(ctx context.Context, seq uint64) (bool, error) {
		if _, err := f.deleteLetter(ctx, seq); err != nil {
			return false, err
		}
		return f.deleteLetter(ctx, seq) // somebody was faster
	}
	out := f.drain(Filter{}, filepath.Join(t.TempDir(), "letters.jsonl"), 0)
	if out.Skipped != 2 || out.Failed != 0 {
		t.Errorf("Drain() = %+v, want 2 skipped", out)
	}
}

// What a line cannot hold stays: a letter by reference whose event is gone, and
// headers that JSON would change. One whose event is there is written whole.
func TestDrainKeepsWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	ack, err := f.js.Publish(t.Context(), "events.big", []byte("the body"))
	if err != nil {
		t.Fatal(err)
	}
	event, err := f.Queue.stored(t.Context(), "EVENTS", ack.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	info, err := streamInfo(t.Context(), f.js, "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	at := wire.Position{Stream: "EVENTS", Created: info.Created, Sequence: ack.Sequence, Stored: event.Time}
	f.put(
		spec{reason: ReasonTooLarge, env: func(e *wire.Envelope) { e.Source, e.Key = at.Source(), wire.Key(wire.KindEvent, at, e.Endpoint) }},
		spec{reason: ReasonTooLarge},
		spec{headers: nats.Header{"X-Name": {"M\xfcller"}}},
		spec{data: "plain"},
	)
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	out := f.drain(Filter{}, path, 2)
	if out.Failed != 2 || !errors.Is(out.Failures[0].Err, ErrSourceGone) || !errors.Is(out.Failures[1].Err, errNotText) {
		t.Errorf("Drain() = %+v", out)
	}
	if left := f.list(Filter{}); len(left) != 2 || left[0].Seq != 2 || left[1].Seq != 3 {
		t.Errorf("left %+v, want the letters 2 and 3", left)
	}
	lines := strings.Split(content(t, path), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"data":"dGhlIGJvZHk="`) || !strings.Contains(lines[1], `"data":"cGxhaW4="`) {
		t.Errorf("the file has %q", lines)
	}
}

// A stream that was created again uses its sequences again: the letters of the
// file are others.
func TestDrainAfterTheStreamWasCreatedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, natstest.Options{})
	path := filepath.Join(t.TempDir(), "letters.jsonl")
	same := spec{id: "msg_same", data: "same", env: func(e *wire.Envelope) { e.Source, e.Key = "EVENTS/7", "same" }}
	f.put(same)
	want := f.exported(Filter{})
	f.drain(Filter{}, path, 1)
	if err := f.js.DeleteStream(t.Context(), f.names.DeadLettersStream()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.js.CreateStream(t.Context(), streamConfigs(f.names)[0]); err != nil {
		t.Fatal(err)
	}
	f.put(same)
	want += f.exported(Filter{})
	f.drain(Filter{}, path, 1)
	expectLines(t, path, want)
}

// drainAndHang drains everything, but stops removing letters after a few, as a
// process would that is about to be killed.
func drainAndHang(q *Queue, path string) error {
	file, err := OpenDrainFile(path)
	if err != nil {
		return err
	}
	_, err = q.Drain(context.Background(), Filter{}, file, DrainOptions{})
	return fmt.Errorf("not killed: %w", err)
}
