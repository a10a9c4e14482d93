//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package dlq

import (
	"errors"
	"os"
	"syscall"
)

// lockFile keeps other drains off a file. The kernel releases it when the file is
// closed, however the process ends.
func lockFile(file *os.File) error {
	// Other errors are those of file systems that have no locks.
	if errors.Is(syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
		return errors.New("another drain writes to it")
	}
	return nil
}
