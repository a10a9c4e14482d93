//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package runfile

import (
	"errors"
	"fmt"
)

// File is nothing here: without a lock that the kernel releases, a file of a process
// that has ended could not be told from one that lives.
type File struct{}

// Write returns [ErrNowhere].
func Write(string, []string, Record) (*File, error) {
	return &File{}, fmt.Errorf("%w: %w", ErrNowhere, errors.ErrUnsupported)
}

// Update does nothing.
func (f *File) Update(Record) error { return nil }

// Remove does nothing.
func (f *File) Remove() {}

// Find finds nothing.
func Find(string, []string) []Record { return nil }
