//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package quiet

// isSilent cannot tell here. A request over a connection that was closed is
// tried once more.
func isSilent(uintptr) bool { return true }
