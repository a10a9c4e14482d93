package config

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// footprint is what a load read: files and patterns, with what came of them. It
// tells whether a load would read something else now.
type footprint struct {
	files files
	read  map[string]*reading
	globs map[string][]string
}

// reading is a file as it was read.
type reading struct {
	info fs.FileInfo // nil: it was not there
	sum  checksum
	// rereads counts how often it is still read again although nothing seems to
	// have changed: two writes within the resolution of the file system's clock
	// look like one.
	rereads int
}

// checksum identifies the content of a file, or the reason why there is none.
type checksum [sha256.Size]byte

// rereads is how many looks a change that shows in no time stamp lasts at most:
// with one in two seconds, longer than the coarsest clock of a file system.
const rereads = 2

func newFootprint(files files) *footprint {
	return &footprint{files: files, read: make(map[string]*reading), globs: make(map[string][]string)}
}

// recording returns a file system that remembers in f what is read. Whatever is
// read twice is the same both times: else one endpoint could keep the old
// content of a secret that another has the new one of, and nothing would differ
// from what was read last.
func (f *footprint) recording() files {
	contents := make(map[string]func() ([]byte, error))
	return files{
		read: func(path string) ([]byte, error) {
			if content, ok := contents[path]; ok {
				return content()
			}
			info, _ := f.files.stat(path) // before reading: a write in between shows at the next look
			data, err := f.files.read(path)
			f.read[path] = &reading{info: info, sum: sum(data, err), rereads: rereads}
			contents[path] = func() ([]byte, error) { return data, err }
			return data, err
		},
		glob: func(pattern string) ([]string, error) {
			paths, err := f.files.glob(pattern)
			f.globs[pattern] = paths
			return paths, err
		},
		stat:    f.files.stat,
		resolve: f.files.resolve,
	}
}

// changed reports whether something that was read is not as it was.
func (f *footprint) changed() bool {
	for path, r := range f.read {
		info, err := f.files.stat(path)
		switch {
		case sameFile(r.info, info, err) && r.rereads == 0:
			continue
		case sameFile(r.info, info, err):
			r.rereads--
		default:
			r.info, r.rereads = info, rereads
		}
		if f.sum(path) != r.sum {
			return true
		}
	}
	for pattern, before := range f.globs {
		if paths, err := f.files.glob(pattern); err == nil && !sameSet(before, paths) {
			return true
		}
	}
	return false
}

// sameFile reports whether what is known of a file without reading it is as it
// was. A file that cannot be looked at is never: it may be readable now.
func sameFile(before, now fs.FileInfo, err error) bool {
	if before == nil || err != nil {
		return before == nil && errors.Is(err, fs.ErrNotExist)
	}
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime()) && before.Size() == now.Size()
}

// sameSet reports whether two lists of paths have the same ones.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (f *footprint) sum(path string) checksum { return sum(f.files.read(path)) }

// sums returns a checksum of everything that was read as it is now, and of what
// the patterns match now.
func (f *footprint) sums() checksum {
	h := sha256.New()
	add := func(path string) {
		s := f.sum(path)
		h.Write([]byte(path))
		h.Write(s[:])
	}
	for _, path := range slices.Sorted(maps.Keys(f.read)) {
		add(path)
	}
	for _, pattern := range slices.Sorted(maps.Keys(f.globs)) {
		paths, _ := f.files.glob(pattern)
		for _, path := range slices.Sorted(slices.Values(paths)) {
			if _, known := f.read[path]; !known {
				add(path)
			}
		}
	}
	return checksum(h.Sum(nil))
}

func sum(data []byte, err error) checksum {
	if err != nil {
		return sha256.Sum256([]byte("unreadable: " + reason(err).Error()))
	}
	return sha256.Sum256(data)
}
