//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package broker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// lockName is the file in the store directory that carries the lock.
const lockName = "fanjet.lock"

// storeLock keeps other processes off a store directory. The kernel releases
// it when the process ends, however it ends; the file itself stays.
type storeLock struct {
	once sync.Once
	file *os.File
}

func lockStore(dir string) (*storeLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("nats.embedded.store_dir: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(file, 32))
		file.Close()
		return nil, fmt.Errorf("nats.embedded.store_dir: %s is in use by another process%s: "+
			"stop it, or give this one a store_dir of its own", dir, describe(holder))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("nats.embedded.store_dir: lock %s: %w", file.Name(), err)
	}
	// The number is for the process that is refused; nothing depends on it.
	if file.Truncate(0) == nil {
		fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	return &storeLock{file: file}, nil
}

func describe(holder []byte) string {
	if pid := strings.TrimSpace(string(holder)); pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}

func (l *storeLock) release() { l.once.Do(func() { l.file.Close() }) }
