package dlq

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoDrainFile means that letters cannot be drained to a file, because of what
// it is or what it holds.
var ErrNoDrainFile = errors.New("letters cannot be drained to it")

// DrainFile is a file that letters are drained to: JSON Lines, as [Queue.Export]
// writes them. It is not safe for concurrent use; no other process can open it
// meanwhile.
type DrainFile struct {
	path    string
	disk    disk
	info    fs.FileInfo
	size    int64             // of what is whole, and on the disk but for the first sync
	lines   map[line]struct{} // that an earlier drain wrote
	created bool
	synced  bool // also the folder, so that the file is found after a power cut
}

// disk is an open file. Tests set one that fails.
type disk interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// line identifies a line by what it says: 16 bytes of its SHA-256.
type line [16]byte

func lineOf(text []byte) line {
	sum := sha256.Sum256(text)
	return line(sum[:16])
}

// OpenDrainFile opens a file to drain letters to. One that does not exist is made,
// for its owner only: letters have bodies. One that an earlier drain or export
// wrote is gone on with, so that a drain that was killed can be run again: letters
// that it holds are not written a second time, and a last line that is torn is
// removed, since its letter is still in the queue. It takes some 50 bytes of memory
// for each line. Anything else is left as it is, with [ErrNoDrainFile].
func OpenDrainFile(path string) (*DrainFile, error) {
	info, err := os.Stat(path)
	created := errors.Is(err, fs.ErrNotExist)
	// Before it is opened: that of a pipe would wait for a reader.
	if err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDrainFile, err)
	}
	f := &DrainFile{path: path, disk: file, lines: make(map[line]struct{}), created: created}
	if err := f.open(file); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func notRegular(path string) error {
	return fmt.Errorf("%w: %s is no regular file, so that what is written there is not kept", ErrNoDrainFile, path)
}

func (f *DrainFile) open(file *os.File) error {
	var err error
	if f.info, err = file.Stat(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoDrainFile, err)
	}
	if !f.info.Mode().IsRegular() {
		return notRegular(f.path)
	}
	if err := lockFile(file); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoDrainFile, f.path, err)
	}
	if err := f.inPlace(); err != nil { // another drain had the lock, and removed it
		return err
	}
	torn, err := f.read(file)
	if err != nil {
		return err
	}
	if !isLetter(torn) {
		return f.rollBack(nil)
	}
	// Only the end of the line is missing; somebody's editor took it.
	n, err := f.disk.Write([]byte("\n"))
	if err != nil {
		return fmt.Errorf("writing %s: %w", f.path, err)
	}
	f.size += int64(len(torn) + n)
	return nil
}

// Path returns where the file is, from the root.
func (f *DrainFile) Path() string {
	if path, err := filepath.Abs(f.path); err == nil {
		return path
	}
	return f.path
}

// inPlace makes sure that the path still leads to the file.
func (f *DrainFile) inPlace() error {
	info, err := os.Stat(f.path)
	if err == nil && !os.SameFile(info, f.info) {
		err = errors.New("it is another file now")
	}
	if err != nil {
		return fmt.Errorf("%s was moved or removed: %w", f.path, err)
	}
	return nil
}

// read reads the lines that the file has, and returns what follows the last one.
func (f *DrainFile) read(file io.Reader) (torn []byte, err error) {
	r := bufio.NewReaderSize(file, 1<<16)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: %w", ErrNoDrainFile, err)
		}
		whole := err == nil
		if whole && !isLetter(text) || !whole && !isTorn(text) {
			return nil, fmt.Errorf("%w: %s has something else than dead letters in line %d; name another file", ErrNoDrainFile, f.path, n)
		}
		if whole || isLetter(text) {
			f.lines[lineOf(bytes.TrimSuffix(text, []byte("\n")))] = struct{}{}
		}
		if !whole {
			return text, nil
		}
		f.size += int64(len(text))
	}
}

// isLetter reports whether a line is that of a letter.
func isLetter(text []byte) bool {
	var l Letter
	return json.Unmarshal(text, &l) == nil && l.Seq > 0 && !l.DeadLettered.IsZero()
}

// isTorn reports whether a text without the end of its line may be the beginning
// of a letter's.
func isTorn(text []byte) bool {
	const begin = `{"seq":`
	return strings.HasPrefix(begin, string(text)) || bytes.HasPrefix(text, []byte(begin))
}

// has reports whether the file has a line already.
func (f *DrainFile) has(text []byte) bool {
	_, ok := f.lines[lineOf(text)]
	return ok
}

// write appends lines, and waits until everything in the file, and the file
// itself, is on the disk. After an error the file is as it was before, and so is
// the queue: nobody removes what may not be there.
func (f *DrainFile) write(lines []byte) error {
	if len(lines) > 0 {
		if _, err := f.disk.Write(lines); err != nil {
			return f.rollBack(fmt.Errorf("writing %s: %w", f.path, err))
		}
	}
	// Not only for new lines: an earlier drain may have been killed before its sync.
	if len(lines) > 0 || !f.synced {
		if err := f.disk.Sync(); err != nil {
			// The bytes that the system holds of them now may never reach the disk,
			// although a later sync succeeds.
			return f.rollBack(fmt.Errorf("syncing %s: %w", f.path, err))
		}
	}
	f.size += int64(len(lines))
	if !f.synced {
		if err := syncFolder(f.path); err != nil {
			return fmt.Errorf("syncing the folder of %s: %w", f.path, err)
		}
		f.synced = true
	}
	return f.inPlace()
}

// rollBack removes what follows the last whole line, because of an error, if
// there is one.
func (f *DrainFile) rollBack(cause error) error {
	if err := f.disk.Truncate(f.size); err != nil {
		return errors.Join(cause, fmt.Errorf("removing an incomplete line of %s, which has to be done by hand (truncate --size=%d): %w", f.path, f.size, err))
	}
	return cause
}

// Close closes the file. One that was made, but got no letter, is removed.
func (f *DrainFile) Close() error {
	var err error
	if f.created && f.size == 0 && f.inPlace() == nil {
		err = os.Remove(f.path) // while it is locked: another drain must not write to it
	}
	if err = errors.Join(err, f.disk.Close()); err != nil {
		return fmt.Errorf("closing %s: %w", f.path, err)
	}
	return nil
}

// syncFolder syncs the folder that has the file of a path, or of what that links
// to: without it, the file may be gone after a power cut.
func syncFolder(path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
