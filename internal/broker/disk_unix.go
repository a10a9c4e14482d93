//go:build linux || darwin || freebsd

package broker

import "syscall"

// DiskSpace returns how many bytes of the file system of a folder are free for
// us, and how many it has.
func DiskSpace(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	block := uint64(s.Bsize)
	return uint64(s.Bavail) * block, s.Blocks * block, nil
}
