//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package runfile

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	suffix = ".json"
	hidden = ".gateway-" // begins the name of a file that is about to be locked
	// settled is how old one is whose process has ended.
	settled = time.Minute
)

// File is what a process left, in every folder that took it. Its methods must not be
// called concurrently.
type File struct {
	config   string
	revision int
	copies   []copied
}

// copied is a file that this process holds locked.
type copied struct {
	dir, path string
	file      *os.File
}

// Write leaves a record of a gateway with a configuration file in every folder that
// takes it, and removes what processes left there that have ended. The error is
// [ErrNowhere] with the reasons if none did. Remove it at the end; the end of the
// process also ends it.
func Write(config string, folders []string, r Record) (*File, error) {
	f := &File{config: config}
	return f, f.write(folders, r)
}

func (f *File) write(folders []string, r Record) error {
	f.revision++
	r.PID, r.Network, r.Config, r.Revision = os.Getpid(), network(), Locate(f.config), f.revision
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var errs []error
	var copies []copied
	for _, dir := range folders {
		path, file, err := leave(dir, prefix(f.config), data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		copies = append(copies, copied{dir, path, file})
	}
	if len(copies) == 0 {
		return fmt.Errorf("%w: %w", ErrNowhere, errors.Join(errs...))
	}
	f.Remove()
	f.copies = copies
	for _, dir := range folders {
		sweep(dir)
	}
	return nil
}

// Update changes the record: at every moment there is one of them.
func (f *File) Update(r Record) error {
	var folders []string
	for _, c := range f.copies {
		folders = append(folders, c.dir)
	}
	return f.write(folders, r)
}

// Remove takes it away.
func (f *File) Remove() {
	for _, c := range f.copies {
		_ = os.Remove(c.path) // what stays is not locked
		c.file.Close()
	}
	f.copies = nil
}

// leave makes a file that is locked before anybody can find it.
func leave(dir, prefix string, data []byte) (path string, file *os.File, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	if !trusted(dir) {
		return "", nil, fmt.Errorf("%s belongs to somebody else, or others may write to it", dir)
	}
	if file, err = os.CreateTemp(dir, hidden+"*"); err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, prefix+strings.ToLower(rand.Text()[:8])+suffix)
	if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		if _, err = file.Write(data); err == nil {
			err = os.Rename(file.Name(), path)
		}
	}
	if err != nil {
		_ = os.Remove(file.Name())
		file.Close()
	}
	return path, file, err
}

// trusted reports whether nobody but us and root can have written what is in a folder.
func trusted(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	owner := ownerOf(info)
	return owner == os.Getuid() || owner == 0
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// Find returns the records of the gateways with a configuration file that run in this
// network, each once, the youngest first.
func Find(config string, folders []string) []Record {
	var found []Record
	for _, dir := range folders {
		if !trusted(dir) {
			continue
		}
		paths, _ := filepath.Glob(filepath.Join(literally(dir), prefix(config)+"*"+suffix)) // the pattern is valid
		for _, path := range paths {
			r, ok := read(path)
			if !ok || r.Network != network() {
				continue
			}
			i := slices.IndexFunc(found, func(other Record) bool { return other.PID == r.PID && other.Started.Equal(r.Started) })
			switch {
			case i < 0:
				found = append(found, r)
			case found[i].Revision < r.Revision: // it is just being updated
				found[i] = r
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Record) int { return b.Started.Compare(a.Started) })
	return found
}

// read reads a file whose process lives.
func read(path string) (r Record, ok bool) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return r, false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || ownerOf(info) != os.Getuid() && ownerOf(info) != 0 {
		return r, false
	}
	if !locked(file) {
		return r, false
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSize))
	return r, err == nil && json.Unmarshal(data, &r) == nil
}

// locked reports whether the process that wrote a file lives.
func locked(file *os.File) bool {
	return errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// sweep removes what processes left that have ended.
func sweep(dir string) {
	for _, pattern := range []string{"gateway-*" + suffix, hidden + "*"} {
		paths, _ := filepath.Glob(filepath.Join(literally(dir), pattern)) // the pattern is valid
		for _, path := range paths {
			file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
			if err != nil {
				continue
			}
			info, err := file.Stat()
			if err == nil && !locked(file) && (pattern[0] != hidden[0] || time.Since(info.ModTime()) > settled) {
				_ = os.Remove(path)
			}
			file.Close()
		}
	}
}

// literally writes a path as a pattern that matches it alone.
func literally(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
