//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package broker

import (
	"errors"
	"fmt"
	"runtime"
)

// storeLock keeps other processes off a store directory.
type storeLock struct{}

// lockStore refuses: without a lock that the kernel releases, two servers
// could write to the same files.
func lockStore(string) (*storeLock, error) {
	return nil, fmt.Errorf("the embedded NATS server is not available on %s, which has no flock: set nats.url to a NATS server: %w",
		runtime.GOOS, errors.ErrUnsupported)
}

func (l *storeLock) release() {}
