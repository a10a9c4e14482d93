//go:build !linux && !darwin && !freebsd

package main

import "errors"

// diskSpace is not known how to find out here.
func diskSpace(string) (free, total uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}
