//go:build !linux && !darwin && !freebsd

package broker

import "errors"

// DiskSpace is not known how to find out here.
func DiskSpace(string) (free, total uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}
