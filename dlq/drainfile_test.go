package dlq

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanjet/internal/natstest"
)

// faultyDisk fails after so many bytes, or at a sync.
type faultyDisk struct {
	disk
	room  int
	sync  error
	trunc error
}

var errDisk = errors.New("no space left on device")

func (d *faultyDisk) Write(data []byte) (int, error) {
	if len(data) > d.room {
		n, err := d.disk.Write(data[:d.room])
		d.room = 0
		return n, errors.Join(errDisk, err)
	}
	d.room -= len(data)
	return d.disk.Write(data)
}

func (d *faultyDisk) Sync() error { return errors.Join(d.sync, d.disk.Sync()) }

func (d *faultyDisk) Truncate(size int64) error {
	if d.trunc != nil {
		return d.trunc
	}
	return d.disk.Truncate(size)
}

// What is not on the disk is not removed, and does not stay in the file.
func TestDrainToADiskThatFails(t *testing.T) {
	t.Parallel()
	const n = pageLetters + 20
	for name, fault := range map[string]faultyDisk{
		"no room at all":     {},
		"a part of a batch":  {room: 5000},
		"the second batch":   {room: -100},
		"a sync":             {room: 1 << 30, sync: errDisk},
		"and it cannot mend": {room: 5000, trunc: errors.New("read-only")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, natstest.Options{})
			f.putMany(n)
			want := f.exported(Filter{})
			path := filepath.Join(t.TempDir(), "letters.jsonl")
			file, err := OpenDrainFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if fault.room < 0 { // so much more than a batch
				for _, line := range strings.SplitAfter(want, "\n")[:pageLetters] {
					fault.room += len(line)
				}
				fault.room += 200
			}
			fault.disk = file.disk
			file.disk = &fault
			out, err := f.Drain(t.Context(), Filter{}, file, DrainOptions{})
			if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path) || out.Failed != 0 {
				t.Errorf("Drain() = %+v, %v, want the disk's error", out, err)
			}
			if fault.trunc != nil {
				if !strings.Contains(err.Error(), "truncate --size=0") {
					t.Errorf("it does not say how the file is mended: %v", err)
				}
				return
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			if left := f.letters(); left != n-out.Done {
				t.Errorf("%d letters are left after %+v", left, out)
			}
			if out.Done > 0 {
				if got := strings.Count(content(t, path), "\n"); got != out.Done {
					t.Errorf("the file has %d lines after %+v", got, out)
				}
			} else if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("an empty file stays: %v", err)
			}
			f.drain(Filter{}, path, n-out.Done)
			expectLines(t, path, want)
		})
	}
}

// A file that is taken away keeps nothing: its letters are not removed.
func TestDrainToAFileThatIsTakenAway(t *testing.T) {
	t.Parallel()
	const n = 2 * pageLetters
	for name, take := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, natstest.Options{})
			f.putMany(n)
			path := filepath.Join(t.TempDir(), "letters.jsonl")
			file, err := OpenDrainFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f.remove = func(ctx context.Context, seq uint64) (bool, error) {
				if seq == pageLetters {
					if err := take(path); err != nil {
						t.Error(err)
					}
				}
				return f.deleteLetter(ctx, seq)
			}
			out, err := f.Drain(t.Context(), Filter{}, file, DrainOptions{})
			if err == nil || !strings.Contains(err.Error(), "was moved or removed") || out.Done != pageLetters || f.letters() != n-pageLetters {
				t.Errorf("Drain() = %+v, %v; %d letters are left", out, err, f.letters())
			}
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenDrainFile(t *testing.T) {
	t.Parallel()
	whole, err := lineText(&Letter{Seq: 1, Endpoint: "a", DeadLettered: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Data: []byte{}})
	if err != nil {
		t.Fatal(err)
	}
	letter := string(whole)
	for _, tt := range []struct {
		name, before, after string
		refused             string // what the error says; empty: it is taken
	}{
		{"empty", "", "", ""},
		{"letters", letter + letter, letter + letter, ""},
		{"a torn line", letter + letter[:len(letter)/2], letter, ""},
		{"a line that was just begun", letter + `{"s`, letter, ""},
		{"nothing but a torn line", letter[:20], "", ""},
		{"only the end of the line is missing", strings.TrimSuffix(letter, "\n"), letter, ""},
		{"notes", "buy milk\n", "", "line 1"},
		{"notes without an end", "buy milk", "", "line 1"},
		{"JSON of something else", letter + "{\"seq\": 5}\n", "", "line 2"},
		{"an empty line", letter + "\n", "", "line 2"},
		{"zeros after a power cut", letter + "\x00\x00\x00", "", "line 2"},
		{"a torn line in the middle", letter[:20] + "\n" + letter, "", "line 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "letters.jsonl")
			if err := os.WriteFile(path, []byte(tt.before), 0o644); err != nil {
				t.Fatal(err)
			}
			file, err := OpenDrainFile(path)
			if tt.refused != "" {
				if !errors.Is(err, ErrNoDrainFile) || !strings.Contains(err.Error(), tt.refused) || content(t, path) != tt.before {
					t.Errorf("OpenDrainFile() = %v, want it refused, and left as it is: %q", err, content(t, path))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil || content(t, path) != tt.after {
				t.Errorf("it has %q, want %q; %v", content(t, path), tt.after, err)
			}
		})
	}
}

// What does not keep what is written is no file to drain to.
func TestOpenDrainFileThatIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{os.DevNull, dir, pipe, filepath.Join(dir, "none", "letters.jsonl")} {
		if file, err := OpenDrainFile(path); !errors.Is(err, ErrNoDrainFile) {
			t.Errorf("%s: %v, %v", path, file, err)
		}
	}
	// A link leads to the file.
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, natstest.Options{})
	f.put(spec{})
	f.drain(Filter{}, link, 1)
	if content(t, target) == "" {
		t.Error("the link was not followed")
	}
}
