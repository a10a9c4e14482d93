//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package quiet

import "syscall"

// isSilent reports whether nothing waits to be read from a socket that does not
// block: no byte, no end, no error.
func isSilent(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		}
	}
}
