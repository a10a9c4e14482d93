package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// roomName is the file in the store directory with which [tryRoom] finds out
// whether the store could be written. It is there for a moment at a time.
const roomName = "fanjet.room"

const (
	// aLittle is written to notice that a disk is full, and enough before the
	// server is started again on one that was: each of its streams writes some
	// files as it starts.
	aLittle, enough = 64 << 10, 1 << 20
	// spareFiles are open at the same time then: a server opens some for each
	// stream.
	spareFiles = 16
)

// tryRoom writes a file of a size into the folder, syncs it and removes it, with
// some more descriptors open meanwhile. Only this tells what a server would meet:
// a file system can be full for others than root, have a quota, no inodes, or have
// become read-only, and no figure of it says all of that.
func tryRoom(dir string, size, descriptors int) (err error) {
	name := filepath.Join(dir, roomName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	open := []*os.File{f}
	defer func() {
		for _, f := range open {
			err = errors.Join(err, f.Close())
		}
		err = errors.Join(err, os.Remove(name))
	}()
	for range descriptors {
		more, err := os.Open(name)
		if err != nil {
			return err
		}
		open = append(open, more)
	}
	// Not zeros: a file system that compresses would have room for any number.
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// StoreError says that the embedded server cannot store anything at the moment.
type StoreError struct {
	Dir   string // the store directory
	Cause error
}

// Error says what is wrong, where, and what to do.
func (e *StoreError) Error() string {
	return fmt.Sprintf("the embedded NATS server cannot store anything in %s: %v; %s", e.Dir, e.Cause, e.remedy())
}

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Cause }

// remedy says what somebody must do. What follows is done by the gateway.
func (e *StoreError) remedy() string {
	const then = "; it goes on by itself then"
	_, limited := errors.AsType[*limitError](e.Cause)
	switch {
	case limited, errors.Is(e.Cause, syscall.ENOSPC), errors.Is(e.Cause, syscall.EDQUOT), errors.Is(e.Cause, syscall.EFBIG):
		return "make room on that disk" + then
	case errors.Is(e.Cause, syscall.EMFILE), errors.Is(e.Cause, syscall.ENFILE):
		return "raise the limit of open files (ulimit -n, LimitNOFILE=), or see what uses them up" + then
	case errors.Is(e.Cause, os.ErrPermission), errors.Is(e.Cause, syscall.EROFS):
		return "let this user write there" + then
	}
	return "look at that disk" + then
}
