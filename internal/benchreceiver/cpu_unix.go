//go:build unix

package benchreceiver

import (
	"syscall"
	"time"
)

// CPU is the time that this process has used, in user and system mode.
func CPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
